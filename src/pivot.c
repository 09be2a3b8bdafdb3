/*
 * pivot.c
 *		The pivot of "forecasts": see pivot.h.
 *
 * Runs in sessions.
 */
#include "postgres.h"

#include "pivot.h"

#include "report.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

/* One of the two fields, and how to recognise it in the open group. */
typedef struct Field
{
	const char *id; /* varlena, in the pivot's context; NULL: no entry is of it */
	bool needed;
	bool every;  /* in this group every entry is of it */
	uint32 code; /* its code in this group's dictionary, or NO_CODE */
} Field;

#define NO_CODE UINT32_MAX

struct ClariPivot
{
	Field forecast;
	Field quota;
	int nshared; /* attributes that all of an owner's entries must agree on */
	int shared[CLARI_MAX_ATTRIBUTES];
	const ClariRowsetMeta *meta;
	const ClariGroupIndex *group;
	const ClariChunk *chunks;
	const uint16 *codes; /* of the entries' fields, where a dictionary has them */
};

/* ------- which fields ------- */

typedef struct FieldChunks
{
	ClariChunkBuffer buffers[CLARI_FIELD_COUNT];
	ClariChunk chunks[CLARI_FIELD_COUNT];
} FieldChunks;

static bool
text_is(const char *varlena, const char *text)
{
	return varlena != NULL && VARSIZE_ANY_EXHDR(varlena) == strlen(text) &&
		   memcmp(VARDATA_ANY(varlena), text, strlen(text)) == 0;
}

static const char *
copy_varlena(const char *varlena)
{
	char *copy = palloc(VARSIZE_ANY(varlena));

	memcpy(copy, varlena, VARSIZE_ANY(varlena));
	return copy;
}

/* Stored text as a message shows it. */
static char *
message_text(const char *varlena)
{
	return clari_report_text(TextDatumGetCString(PointerGetDatum(varlena)));
}

/* Is the field in this row of the list of fields the one that we look for? */
static bool
is_candidate(const FieldChunks *fields, uint32 row, const char *option, int carries)
{
	if (option == NULL)
		return clari_chunk_fixed(&fields->chunks[carries], row) == 1;
	return text_is(clari_chunk_varlena(&fields->chunks[CLARI_FIELD_FIELD_ID], row), option) ||
		   text_is(clari_chunk_varlena(&fields->chunks[CLARI_FIELD_FIELD_NAME], row), option);
}

/* Takes the row's field if it is the first; lists it in any case. */
static void
add_candidate(Field *field, const FieldChunks *fields, uint32 row, StringInfo names, int *count)
{
	const char *id = clari_chunk_varlena(&fields->chunks[CLARI_FIELD_FIELD_ID], row);
	const char *name = clari_chunk_varlena(&fields->chunks[CLARI_FIELD_FIELD_NAME], row);

	appendStringInfo(names, "%s\"%s\"", *count > 0 ? ", " : "", message_text(id));
	if (name != NULL)
		appendStringInfo(names, " (%s)", message_text(name));
	if ((*count)++ == 0)
		field->id = copy_varlena(id);
}

static void
choose_field(Field *field, ClariReader *reader, const char *option, int carries, const char *option_name)
{
	FieldChunks fields = {0};
	StringInfoData names;
	int count = 0;

	initStringInfo(&names);
	for (int g = 0; g < reader->ngroups; g++)
	{
		if (reader->groups[g].list != CLARI_FIELDS)
			continue;
		for (int i = 0; i < CLARI_FIELD_COUNT; i++)
			clari_reader_chunk(reader, g, i, &fields.buffers[i], &fields.chunks[i]);
		for (uint32 row = 0; row < reader->groups[g].nrows; row++)
			if (is_candidate(&fields, row, option, carries))
				add_candidate(field, &fields, row, &names, &count);
	}
	if (count > 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION),
						errmsg(option == NULL ? "several fields of forecast \"%s\" carry such amounts"
											  : "several fields of forecast \"%s\" match the option",
							   clari_report_text(reader->version.meta.forecast)),
						errdetail("Period %s has: %s.", reader->version.meta.answered, names.data),
						errhint("Name one of them in option \"%s\" of the foreign table.", option_name)));
}

static bool
needs_source(const ClariColumn *columns, int ncolumns, ClariColumnSource source)
{
	for (int i = 0; i < ncolumns; i++)
		if (columns[i].source == source)
			return true;
	return false;
}

/* An option that names no field of the file would quietly give NULLs for money. */
static void
check_found(const Field *field, const ClariRowsetMeta *meta, const char *option, const char *option_name)
{
	if (field->id == NULL && option != NULL && meta->rows[CLARI_FIELDS] > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION),
			 errmsg("forecast \"%s\" has no field \"%s\" in period %s", clari_report_text(meta->forecast),
					clari_report_text(option), meta->answered),
			 errhint("Option \"%s\" takes a field's id or name, as a foreign table with object 'fields' lists them.",
					 option_name)));
}

ClariPivot *
clari_pivot_open(const ClariOptions *options, ClariReader *reader, const ClariColumn *columns, int ncolumns,
				 const bool *shared)
{
	ClariPivot *pivot = palloc0(sizeof(ClariPivot));
	const ClariRowsetMeta *meta = &reader->version.meta;

	pivot->meta = meta;
	pivot->forecast.needed = needs_source(columns, ncolumns, CLARI_FROM_FORECAST_FIELD);
	pivot->quota.needed = needs_source(columns, ncolumns, CLARI_FROM_QUOTA_FIELD);
	for (int attribute = 0; attribute < CLARI_MAX_ATTRIBUTES; attribute++)
		if (shared[attribute])
			pivot->shared[pivot->nshared++] = attribute;
	if (pivot->forecast.needed)
	{
		choose_field(&pivot->forecast, reader, options->forecast_field, CLARI_FIELD_CARRIES_FORECAST, "forecast_field");
		check_found(&pivot->forecast, meta, options->forecast_field, "forecast_field");
	}
	if (pivot->quota.needed)
	{
		choose_field(&pivot->quota, reader, options->quota_field, CLARI_FIELD_CARRIES_QUOTA, "quota_field");
		check_found(&pivot->quota, meta, options->quota_field, "quota_field");
	}
	return pivot;
}

/* ------- groups ------- */

static bool
same_varlena(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return a == b || (VARSIZE_ANY(a) == VARSIZE_ANY(b) && memcmp(a, b, VARSIZE_ANY(a)) == 0);
}

static void
locate_field(Field *field, const ClariChunk *ids)
{
	field->every = false;
	field->code = NO_CODE;
	if (field->id == NULL || !field->needed)
		return;
	if (ids->encoding == CLARI_ENCODING_CONSTANT)
		field->every = same_varlena(ids->bytes, field->id);
	if (ids->encoding == CLARI_ENCODING_DICTIONARY)
		for (uint32 i = 0; i < ids->ndistinct; i++)
			if (same_varlena(ids->bytes + ids->offsets[i], field->id))
				field->code = i + 1;
}

void
clari_pivot_group(ClariPivot *pivot, const ClariGroupIndex *group, const ClariChunk *chunks)
{
	pivot->group = group;
	pivot->chunks = chunks;
	pivot->codes =
		chunks[CLARI_ENTRY_FIELD_ID].encoding == CLARI_ENCODING_DICTIONARY ? chunks[CLARI_ENTRY_FIELD_ID].codes : NULL;
	locate_field(&pivot->forecast, &chunks[CLARI_ENTRY_FIELD_ID]);
	locate_field(&pivot->quota, &chunks[CLARI_ENTRY_FIELD_ID]);
}

/* ------- rows ------- */

static inline bool
is_of_field(const Field *field, const ClariChunk *ids, uint32 row)
{
	if (ids->encoding == CLARI_ENCODING_CONSTANT)
		return field->every;
	return field->needed && field->id != NULL && same_varlena(clari_chunk_varlena(ids, row), field->id);
}

static void
raise_ambiguous(const ClariPivot *pivot, uint32 row, const char *what)
{
	const char *field = clari_chunk_varlena(&pivot->chunks[CLARI_ENTRY_FIELD_ID], row);

	ereport(ERROR, (errcode(ERRCODE_CARDINALITY_VIOLATION), errmsg("an owner's entries do not make one row: %s", what),
					errdetail("Forecast \"%s\", period %s, an entry of field \"%s\".",
							  clari_report_text(pivot->meta->forecast), pivot->meta->answered, message_text(field)),
					errhint("A foreign table with object 'entries' shows them as they are.")));
}

static inline bool
same_cell(const ClariChunk *chunk, uint32 a, uint32 b)
{
	if (chunk->encoding == CLARI_ENCODING_FIXED)
		return chunk->fixed[a] == chunk->fixed[b];
	if (chunk->encoding == CLARI_ENCODING_DICTIONARY)
		return chunk->codes[a] == chunk->codes[b];
	return same_varlena(clari_chunk_varlena(chunk, a), clari_chunk_varlena(chunk, b));
}

static void
raise_different(const ClariPivot *pivot, uint32 row, int attribute)
{
	char what[NAMEDATALEN + 64];

	snprintf(what, sizeof(what), "column \"%s\" differs among them",
			 clari_lists[CLARI_ENTRIES].attributes[attribute].name);
	raise_ambiguous(pivot, row, what);
}

static inline void
take_forecast(const ClariPivot *pivot, uint32 row, int32 *taken)
{
	if (*taken >= 0)
		raise_ambiguous(pivot, row, "several are of the forecast field");
	*taken = (int32) row;
}

static inline void
take_quota(const ClariPivot *pivot, uint32 row, int32 *taken)
{
	if (*taken >= 0)
		raise_ambiguous(pivot, row, "several are of the quota field");
	*taken = (int32) row;
}

static inline uint32
run_end(const ClariPivot *pivot, uint32 run)
{
	return run + 1 < pivot->group->nruns ? pivot->chunks[CLARI_RUNS_CHUNK].offsets[run + 1] : pivot->group->nrows;
}

void
clari_pivot_row(const ClariPivot *pivot, uint32 run, int32 *rows)
{
	uint32 first = pivot->chunks[CLARI_RUNS_CHUNK].offsets[run];
	uint32 end = run_end(pivot, run);
	int32 forecast = -1;
	int32 quota = -1;

	/* The usual case, in a loop that does no more than it must: it is run for each owner. */
	for (uint32 row = first; row < end && pivot->codes != NULL; row++)
	{
		if (pivot->codes[row] == pivot->forecast.code)
			take_forecast(pivot, row, &forecast);
		if (pivot->codes[row] == pivot->quota.code)
			take_quota(pivot, row, &quota);
	}
	for (uint32 row = first; row < end && pivot->codes == NULL; row++)
	{
		if (is_of_field(&pivot->forecast, &pivot->chunks[CLARI_ENTRY_FIELD_ID], row))
			take_forecast(pivot, row, &forecast);
		if (is_of_field(&pivot->quota, &pivot->chunks[CLARI_ENTRY_FIELD_ID], row))
			take_quota(pivot, row, &quota);
	}
	for (int i = 0; i < pivot->nshared; i++)
		for (uint32 row = first + 1; row < end; row++)
			if (!same_cell(&pivot->chunks[pivot->shared[i]], first, row))
				raise_different(pivot, row, pivot->shared[i]);
	rows[CLARI_PIVOT_FIRST] = (int32) first;
	rows[CLARI_PIVOT_FORECAST] = forecast;
	rows[CLARI_PIVOT_QUOTA] = quota;
}

uint32
clari_pivot_runs(const ClariPivot *pivot, uint32 *rows, uint32 count)
{
	uint32 nruns = 0;
	uint32 run = 0;

	for (uint32 i = 0; i < count; i++)
	{
		if (nruns > 0 && rows[i] < run_end(pivot, rows[nruns - 1]))
			continue;
		while (rows[i] >= run_end(pivot, run))
			run++;
		rows[nruns++] = run;
	}
	return nruns;
}
