/*
 * compat.h
 *		The differences between versions of PostgreSQL, by the names of
 *		features. Only this file contains version numbers.
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
 * The library is compiled with -fvisibility=hidden (see the Makefile), so
 * functions that PostgreSQL looks up must be exported.  Before 16,
 * PostgreSQL's headers do not do that.
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

/* The name and version of the module, which pg_get_loaded_modules() shows. */
#if PG_VERSION_NUM >= 180000
#define CLARI_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "clari_fdw", .version = CLARI_VERSION)
#else
#define CLARI_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* ExplainState and ExplainPropertyText() are declared in headers other than commands/explain.h. */
#if PG_VERSION_NUM >= 180000
#define CLARI_EXPLAIN_HAS_HEADERS
#endif

/* CreateWaitEventSet() takes a resource owner instead of a memory context. */
#if PG_VERSION_NUM >= 170000
#define CLARI_WAIT_SET_HAS_OWNER
#endif

/* A tranche's name is given when it is allocated.  In older versions, each process must register it. */
#if PG_VERSION_NUM >= 190000
#define clari_new_tranche(name) LWLockNewTrancheId(name)
#define clari_name_tranche(tranche, name) ((void) (tranche))
#else
#define clari_new_tranche(name) LWLockNewTrancheId()
#define clari_name_tranche(tranche, name) LWLockRegisterTranche(tranche, name)
#endif

/* The user whose rights a scan has, such as a view's owner; InvalidOid means the current user. */
#if PG_VERSION_NUM >= 160000
#define clari_scan_check_as_user(plan, rte) ((void) (rte), (plan)->checkAsUser)
#else
#define clari_scan_check_as_user(plan, rte) ((void) (plan), (rte)->checkAsUser)
#endif

/* The relations of a scan without scanrelid, without those of outer joins. */
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

/* pg_plan_query() without parameters.  Version 19 adds an argument for EXPLAIN's state. */
#if PG_VERSION_NUM >= 190000
#define clari_plan_query(query, text, options) pg_plan_query(query, text, options, NULL, NULL)
#else
#define clari_plan_query(query, text, options) pg_plan_query(query, text, options, NULL)
#endif

/* ExecutorRun() that runs a statement to its end. */
#if PG_VERSION_NUM >= 180000
#define clari_executor_run(description) ExecutorRun(description, ForwardScanDirection, 0)
#else
#define clari_executor_run(description) ExecutorRun(description, ForwardScanDirection, 0, true)
#endif

/* Signal handlers have several arguments, so pqsignal() does not accept SIG_IGN. */
#if PG_VERSION_NUM < 190000
#define PG_SIG_IGN SIG_IGN
#endif

/* Wait events with names of their own, in versions that allow extensions to have them. */
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

/* From 16 on, a member of a role need not be allowed to set it. */
#if PG_VERSION_NUM >= 160000
#define clari_may_set_role(member, role) member_can_set_role(member, role)
#else
#define clari_may_set_role(member, role) true
#endif

#endif /* CLARI_COMPAT_H */
