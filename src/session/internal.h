/*
 * internal.h
 *		What the files of the room session share: the level of warnings about a
 *		rowset.
 */
#ifndef CLARI_SESSION_INTERNAL_H
#define CLARI_SESSION_INTERNAL_H

#include "postgres.h"

#include "rowset/rowset.h"

/* Warnings about a rowset that apply each time it is read. */
typedef enum ClariRemark
{
	CLARI_REMARK_WRONG_PERIOD,
	CLARI_REMARK_TRUNCATED,
	CLARI_REMARK_WITHOUT_CRM,
	CLARI_REMARK_STALE /* to be added: the ClariErrorCode that is the reason */
} ClariRemark;

/*
 * The level of a remark: WARNING when it is first made about a rowset in a
 * session, later NOTICE, which is usually not logged.
 */
extern int clari_export_warning_level(const ClariRowsetMeta *meta, int remark);

#endif /* CLARI_SESSION_INTERNAL_H */
