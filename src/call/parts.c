/*
 * parts.c
 *		The parts of an export: see internal.h.
 *
 * Runs in sessions.  It reads rowsets and the cache, and never waits.
 */
#include "postgres.h"

#include "call/internal.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

typedef struct Parts
{
	ClariReader *reader;
	const ClariOptions *options;
	const char *forecast_name;
	const char *exported_at;
	int count;
	ClariPart *items;
} Parts;

static void
add_part(Parts *parts, const char *period)
{
	if (parts->items == NULL)
		parts->items = palloc(sizeof(ClariPart));
	else
		parts->items = repalloc(parts->items, sizeof(ClariPart) * (parts->count + 1));
	parts->items[parts->count++] = (ClariPart){.time_period = period,
											   .forecast_name = parts->forecast_name,
											   .newest = parts->exported_at,
											   .oldest = parts->exported_at};
}

/* Adds the period of an entry, unless it has another type or was added before. */
static void
add_part_of_entry(Parts *parts, const char *id, const char *type)
{
	const char *period = TextDatumGetCString(PointerGetDatum(id));

	if (strcmp(TextDatumGetCString(PointerGetDatum(type)), clari_period_type_names[parts->options->period_type]) != 0)
		return;
	period = pg_any_to_server(period, (int) strlen(period), PG_UTF8);
	for (int i = 0; i < parts->count; i++)
		if (strcmp(parts->items[i].time_period, period) == 0)
			return;
	add_part(parts, period);
}

#define MOST_SEEN 32 /* periods are few, and equal ids of a group usually share their bytes */

static void
add_parts_of_group(Parts *parts, int group)
{
	ClariChunkBuffer buffers[2] = {0};
	const char *seen[MOST_SEEN];
	int nseen = 0;
	ClariChunk types;
	ClariChunk ids;

	clari_reader_chunk(parts->reader, group, CLARI_ENTRY_PERIOD_TYPE, &buffers[0], &types);
	clari_reader_chunk(parts->reader, group, CLARI_ENTRY_TIME_PERIOD_ID, &buffers[1], &ids);
	for (uint32 row = 0; row < ids.nrows; row++)
	{
		const char *id = clari_chunk_varlena(&ids, row);
		int i = 0;

		while (i < nseen && seen[i] != id)
			i++;
		if (id == NULL || i < nseen)
			continue;
		if (nseen < MOST_SEEN)
			seen[nseen++] = id;
		add_part_of_entry(parts, id, clari_chunk_varlena(&types, row));
	}
}

ClariPart *
clari_parts_find(ClariReader *reader, const ClariOptions *options, const char *forecast_name, int *count)
{
	const ClariRowsetMeta *meta = &reader->version.meta;
	Parts parts = {reader, options, forecast_name, pstrdup(timestamptz_to_str(meta->exported_at)), 0, NULL};

	if (options->period_type == CLARI_QUARTERS)
		add_part(&parts, pstrdup(meta->answered));
	else
		for (int i = 0; i < reader->ngroups; i++)
			if (reader->groups[i].list == CLARI_ENTRIES)
				add_parts_of_group(&parts, i);
	*count = parts.count;
	return parts.items;
}

int
clari_parts_expected(const ClariOptions *options, ClariPeriod quarter,
					 char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE])
{
	ClariNumbering numbering;

	if (options->period_type == CLARI_QUARTERS)
	{
		clari_period_format(quarter, ids[0]);
		return 1;
	}
	clari_export_numbering(options, &numbering);
	return quarter != CLARI_PERIOD_NONE ? clari_numbering_ids(&numbering, options->period_type, quarter, ids) : 0;
}
