/*
 * rowset_column.h
 *		Rows into column chunks: builds row groups, chooses each chunk's
 *		encoding, and hands the bytes on in file order.
 *
 * Private to rowset_*.c.  Pure: malloc and the caller's callbacks only.
 */
#ifndef CLARI_ROWSET_COLUMN_H
#define CLARI_ROWSET_COLUMN_H

#include "rowset/item.h"
#include "rowset/rowset.h"

#define CLARI_SINK_BUFFER (64 * 1024)

/* Where the groups of one rowset go, and what is known of those that went. */
typedef struct ClariSink
{
	const ClariRowsetOutput *output;
	ClariNumericEncoder encode;
	void *encode_arg;
	uint64_t position; /* bytes put so far, buffered ones included */
	ClariGroupIndex *groups;
	uint32_t ngroups;
	uint32_t groups_capacity;
	uint64_t rows[CLARI_LIST_COUNT];
	uint64_t runs;
	size_t used;
	char buffer[CLARI_SINK_BUFFER];
} ClariSink;

/* Appends bytes; the very first go behind the magic.  False with the output's error. */
extern bool clari_sink_put(ClariSink *sink, const void *bytes, size_t length, ClariError *error);
extern bool clari_sink_flush(ClariSink *sink, ClariError *error);

typedef struct ClariGroup ClariGroup;

/* A builder of a list's groups.  NULL when memory is out.  The caller's until clari_group_close(). */
extern ClariGroup *clari_group_open(ClariSink *sink, ClariList list);

/*
 * Takes a row's cells, one per attribute; begins_run says that the row is not
 * of the run of the row before, so that a full group may be closed first.
 * False: the encoder's or the output's error, out of memory, or
 * CLARI_ERROR_LIMIT for a run that no group can hold.
 */
extern bool clari_group_put_row(ClariGroup *group, const ClariCell *cells, bool begins_run, ClariError *error);

/* Writes the rows that there are, if any, as a group.  False as above. */
extern bool clari_group_flush(ClariGroup *group, ClariError *error);
extern void clari_group_close(ClariGroup *group);

#endif /* CLARI_ROWSET_COLUMN_H */
