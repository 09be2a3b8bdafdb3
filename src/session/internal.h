/*
 * internal.h
 *		What the files of room session share: how loudly something is said of a rowset.
 */
#ifndef CLARI_SESSION_INTERNAL_H
#define CLARI_SESSION_INTERNAL_H

#include "postgres.h"

#include "rowset/rowset.h"

/* What is said of a rowset each time that it is read. */
typedef enum ClariRemark
{
	CLARI_REMARK_WRONG_PERIOD,
	CLARI_REMARK_TRUNCATED,
	CLARI_REMARK_WITHOUT_CRM,
	CLARI_REMARK_STALE /* the ClariErrorCode that is the reason is added to it */
} ClariRemark;

/* The level of a remark: WARNING, of one rowset once in a session; then NOTICE, which the log does not get. */
extern int clari_export_warning_level(const ClariRowsetMeta *meta, int remark);

#endif /* CLARI_SESSION_INTERNAL_H */
