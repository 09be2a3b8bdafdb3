/*
 * compat.h
 *		Differences between PostgreSQL's versions, by the name of the feature.
 *		The only file that knows version numbers.
 */
#ifndef CLARI_COMPAT_H
#define CLARI_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "clari_fdw needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * The library hides its symbols (the Makefile says -fvisibility=hidden), but for
 * those that PostgreSQL looks up; before 16 its headers do not say so themselves.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
extern PGDLLEXPORT void _PG_init(void);
#define CLARI_FUNCTION(name)                                                                                           \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                                   \
	PG_FUNCTION_INFO_V1(name)
#else
#define CLARI_FUNCTION(name) PG_FUNCTION_INFO_V1(name)
#endif

/* The module says its name and version, which pg_get_loaded_modules() shows. */
#if PG_VERSION_NUM >= 180000
#define CLARI_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "clari_fdw", .version = CLARI_VERSION)
#else
#define CLARI_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* ExplainState and ExplainPropertyText() have left commands/explain.h for headers of their own. */
#if PG_VERSION_NUM >= 180000
#define CLARI_EXPLAIN_HAS_HEADERS
#endif

/* CreateWaitEventSet() takes a resource owner instead of a memory context. */
#if PG_VERSION_NUM >= 170000
#define CLARI_WAIT_SET_HAS_OWNER
#endif

/* A tranche of locks has its name from the beginning; before, each process had to give it. */
#if PG_VERSION_NUM >= 190000
#define clari_new_tranche(name) LWLockNewTrancheId(name)
#define clari_name_tranche(tranche, name) ((void) (tranche))
#else
#define clari_new_tranche(name) LWLockNewTrancheId()
#define clari_name_tranche(tranche, name) LWLockRegisterTranche(tranche, name)
#endif

/* Whose rights a scan has: from a view's owner, or InvalidOid for the current user. */
#if PG_VERSION_NUM >= 160000
#define clari_scan_check_as_user(plan, rte) ((void) (rte), (plan)->checkAsUser)
#else
#define clari_scan_check_as_user(plan, rte) ((void) (plan), (rte)->checkAsUser)
#endif

/* The relations that a scan without scanrelid is of, without those of outer joins. */
#if PG_VERSION_NUM >= 160000
#define clari_scan_relids(plan) ((plan)->fs_base_relids)
#else
#define clari_scan_relids(plan) ((plan)->fs_relids)
#endif

/* create_foreignscan_path() for a base relation without pathkeys, outer path or private data. */
#if PG_VERSION_NUM >= 180000
#define clari_create_path(root, rel, rows, startup, total, outer)                                                      \
	create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, NIL, outer, NULL, NIL, NIL)
#elif PG_VERSION_NUM >= 170000
#define clari_create_path(root, rel, rows, startup, total, outer)                                                      \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, outer, NULL, NIL, NIL)
#else
#define clari_create_path(root, rel, rows, startup, total, outer)                                                      \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, outer, NULL, NIL)
#endif

/* create_foreign_upper_path() without pathkeys, outer path or restrictions. */
#if PG_VERSION_NUM >= 180000
#define clari_create_upper_path(root, rel, target, rows, startup, total, private)                                      \
	create_foreign_upper_path(root, rel, target, rows, 0, startup, total, NIL, NULL, NIL, private)
#elif PG_VERSION_NUM >= 170000
#define clari_create_upper_path(root, rel, target, rows, startup, total, private)                                      \
	create_foreign_upper_path(root, rel, target, rows, startup, total, NIL, NULL, NIL, private)
#else
#define clari_create_upper_path(root, rel, target, rows, startup, total, private)                                      \
	create_foreign_upper_path(root, rel, target, rows, startup, total, NIL, NULL, private)
#endif

/* pg_plan_query() without parameters; it can be told of EXPLAIN's state. */
#if PG_VERSION_NUM >= 190000
#define clari_plan_query(query, text, options) pg_plan_query(query, text, options, NULL, NULL)
#else
#define clari_plan_query(query, text, options) pg_plan_query(query, text, options, NULL)
#endif

/* ExecutorRun() of a whole statement. */
#if PG_VERSION_NUM >= 180000
#define clari_executor_run(description) ExecutorRun(description, ForwardScanDirection, 0)
#else
#define clari_executor_run(description) ExecutorRun(description, ForwardScanDirection, 0, true)
#endif

/* Handlers of signals have more than one argument, so that SIG_IGN is none for pqsignal(). */
#if PG_VERSION_NUM < 190000
#define PG_SIG_IGN SIG_IGN
#endif

/* Wait events with names of their own, where extensions can have them. */
#if PG_VERSION_NUM >= 170000
#include "utils/wait_event.h"

#define CLARI_DEFINE_WAIT_EVENT(function, name)                                                                        \
	static inline uint32 function(void)                                                                                \
	{                                                                                                                  \
		static uint32 event = 0;                                                                                       \
		if (event == 0)                                                                                                \
			event = WaitEventExtensionNew(name);                                                                       \
		return event;                                                                                                  \
	}
#else
#include "pgstat.h"

#define CLARI_DEFINE_WAIT_EVENT(function, name)                                                                        \
	static inline uint32 function(void)                                                                                \
	{                                                                                                                  \
		return PG_WAIT_EXTENSION;                                                                                      \
	}
#endif
CLARI_DEFINE_WAIT_EVENT(clari_wait_event_export, "ClariFdwExport")
CLARI_DEFINE_WAIT_EVENT(clari_wait_event_worker, "ClariFdwWorker")

/* From 16 on, to be a member of a role is not yet to be allowed to act as it. */
#if PG_VERSION_NUM >= 160000
#define clari_may_set_role(member, role) member_can_set_role(member, role)
#else
#define clari_may_set_role(member, role) true
#endif

#endif /* CLARI_COMPAT_H */
