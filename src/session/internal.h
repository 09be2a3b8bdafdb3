/*
 * internal.h
 *		What the files of room session share: the level at which remarks on rowsets are
 *		reported.
 */
#ifndef CLARI_SESSION_INTERNAL_H
#define CLARI_SESSION_INTERNAL_H

#include "postgres.h"

#include "rowset/rowset.h"

/* A remark that is reported whenever a rowset is read. */
typedef enum ClariRemark
{
	CLARI_REMARK_WRONG_PERIOD,
	CLARI_REMARK_TRUNCATED,
	CLARI_REMARK_WITHOUT_CRM,
	CLARI_REMARK_STALE /* plus the ClariErrorCode that is the reason */
} ClariRemark;

/* Returns the level of a remark on this version: WARNING once in a session, then NOTICE, which is usually not logged. */
extern int clari_export_warning_level(const ClariRowsetMeta *meta, int remark);

#endif /* CLARI_SESSION_INTERNAL_H */
