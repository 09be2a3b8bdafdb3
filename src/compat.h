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

/* CreateWaitEventSet() takes a resource owner instead of a memory context. */
#if PG_VERSION_NUM >= 170000
#define CLARI_WAIT_SET_HAS_OWNER
#endif

#endif /* CLARI_COMPAT_H */
