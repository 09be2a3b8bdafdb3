/*
 * filter.c
 *		Quals on text columns, tested on dictionaries: see filter.h.
 *
 * Runs in sessions.  Clauses are selected while planning, and tested when a scan
 * opens a row group.
 */
#include "postgres.h"

#include "plan/filter.h"

#include "options/columns.h"
#include "plan/internal.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/*
 * The maximum number of values whose hashes are looked up in a group.  Hashes have
 * 16 bits, and a group may have thousands of values, so one of a longer list of
 * values is likely to be found by chance, and looking would rule out nothing.
 */
#define MOST_HASHED 16

typedef enum TestKind
{
	TEST_EQUAL, /* equal to one of the values */
	TEST_NULL,
	TEST_NOT_NULL
} TestKind;

/* A clause taken apart. */
typedef struct Clause
{
	TestKind kind;
	AttrNumber attnum;
	Expr *compared; /* a text or an array of texts that the column is compared with; NULL for IS [NOT] NULL */
} Clause;

/* One of the texts that a column is compared with. */
typedef struct Value
{
	const char *bytes;
	uint32 length;
	uint16 hash;
} Value;

typedef struct Test
{
	TestKind kind;
	int attribute;
	ExprState *compared; /* as in Clause */
	Oid type;            /* the type of compared, text or text[] */
	int nvalues;
	Value *values; /* the value of compared; ascending by length, then by bytes */
} Test;

struct ClariFilter
{
	int ntests;
	Test *tests;
	MemoryContext context; /* holds the tests' values */
	bool *passing;         /* by dictionary code: does the value pass the current test? */
	uint32 npassing;       /* allocated length of passing */
};

/* ------- selecting ------- */

static Node *
strip_relabels(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* The attribute number if the node is a column of the relation (relid 0: of any relation), else InvalidAttrNumber. */
static AttrNumber
column_number(Node *node, Index relid)
{
	Var *var = (Var *) strip_relabels(node);

	if (var == NULL || !IsA(var, Var) || (relid != 0 && var->varno != (int) relid) || var->varlevelsup != 0 ||
		var->varattno <= 0)
		return InvalidAttrNumber;
	return var->varattno;
}

static bool
take_comparison(List *args, Index relid, Clause *clause)
{
	clause->kind = TEST_EQUAL;
	clause->compared = lsecond(args);
	clause->attnum = column_number(linitial(args), relid);
	return clause->attnum != InvalidAttrNumber;
}

/* Takes a clause apart.  False if it is not =, IN or IS [NOT] NULL on a column. */
static bool
take_apart(Node *node, Index relid, Clause *clause)
{
	if (IsA(node, NullTest))
	{
		clause->kind = ((NullTest *) node)->nulltesttype == IS_NULL ? TEST_NULL : TEST_NOT_NULL;
		clause->compared = NULL;
		clause->attnum = column_number((Node *) ((NullTest *) node)->arg, relid);
		return clause->attnum != InvalidAttrNumber;
	}
	if (IsA(node, ScalarArrayOpExpr))
	{
		ScalarArrayOpExpr *any = (ScalarArrayOpExpr *) node;

		return any->useOr && any->opno == TextEqualOperator && take_comparison(any->args, relid, clause);
	}
	if (IsA(node, OpExpr) && ((OpExpr *) node)->opno == TextEqualOperator)
	{
		List *args = ((OpExpr *) node)->args;

		if (take_comparison(args, relid, clause))
			return true;
		return take_comparison(list_make2(lsecond(args), linitial(args)), relid, clause);
	}
	return false;
}

/* Does the column show texts exactly as they are stored in a chunk, apart from their encoding? */
static bool
is_stored_text(AttrNumber attnum, TupleDesc tupdesc, const ClariColumn *columns)
{
	const ClariColumn *column = &columns[attnum - 1];

	return column->source == CLARI_FROM_ATTRIBUTE && column->type == CLARI_TEXT &&
		   clari_columns_same_type(CLARI_TEXT, TupleDescAttr(tupdesc, attnum - 1));
}

static bool
is_accepted(Node *node, Index relid, TupleDesc tupdesc, const ClariColumn *columns)
{
	Clause clause;

	if (!take_apart(node, relid, &clause) || !is_stored_text(clause.attnum, tupdesc, columns))
		return false;
	if (clause.kind != TEST_EQUAL)
		return true;
	return clari_columns_is_bytewise(exprInputCollation(node)) &&
		   !bms_is_member(relid, pull_varnos(NULL, (Node *) clause.compared)) &&
		   !contain_volatile_functions((Node *) clause.compared) && !contain_subplans((Node *) clause.compared);
}

/* Stored texts are UTF-8.  In a database of another encoding, equal texts would have different bytes. */
static bool
has_stored_encoding(void)
{
	return GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;
}

List *
clari_filter_select(List *restrictinfos, Index relid, TupleDesc tupdesc, const ClariColumn *columns)
{
	List *selected = NIL;
	ListCell *cell;

	if (!has_stored_encoding())
		return NIL;
	foreach (cell, restrictinfos)
	{
		RestrictInfo *restrictinfo = lfirst_node(RestrictInfo, cell);

		if (!restrictinfo->pseudoconstant && is_accepted((Node *) restrictinfo->clause, relid, tupdesc, columns))
			selected = lappend(selected, restrictinfo);
	}
	return selected;
}

bool
clari_filter_is_of_column(Node *expression, Index relid, TupleDesc tupdesc, const ClariColumn *columns)
{
	AttrNumber attnum = column_number(expression, relid);

	return attnum != InvalidAttrNumber && has_stored_encoding() && is_stored_text(attnum, tupdesc, columns);
}

AttrNumber
clari_filter_compared_column(const RestrictInfo *filter, Index relid)
{
	Clause clause;

	if (!IsA(filter->clause, OpExpr) || !take_apart((Node *) filter->clause, relid, &clause))
		return InvalidAttrNumber;
	return clause.attnum;
}

/* ------- preparing ------- */

ClariFilter *
clari_filter_begin(List *clauses, PlanState *parent, const ClariColumn *columns)
{
	ClariFilter *filter;
	ListCell *cell;

	if (clauses == NIL)
		return NULL;
	filter = palloc0(sizeof(ClariFilter));
	filter->tests = palloc0(sizeof(Test) * list_length(clauses));
	filter->passing = palloc(1);
	filter->context = AllocSetContextCreate(CurrentMemoryContext, "clari_fdw filter", ALLOCSET_SMALL_SIZES);
	foreach (cell, clauses)
	{
		Test *test = &filter->tests[filter->ntests++];
		Clause clause;

		if (!take_apart(lfirst(cell), 0, &clause))
			elog(ERROR, "unrecognized filter clause: %d", (int) nodeTag(lfirst(cell)));
		test->kind = clause.kind;
		test->attribute = columns[clause.attnum - 1].attribute;
		if (clause.compared != NULL)
		{
			test->compared = ExecInitExpr(clause.compared, parent);
			test->type = exprType((Node *) clause.compared);
		}
	}
	return filter;
}

static int
compare_values(const void *a, const void *b)
{
	const Value *left = a;
	const Value *right = b;

	if (left->length != right->length)
		return left->length < right->length ? -1 : 1;
	return memcmp(left->bytes, right->bytes, left->length);
}

static void
add_value(Test *test, Datum datum)
{
	text *value = DatumGetTextPCopy(datum);

	test->values[test->nvalues++] = (Value){VARDATA(value), VARSIZE(value) - VARHDRSZ,
											clari_rowset_hash(VARDATA(value), VARSIZE(value) - VARHDRSZ)};
}

static void
add_array(Test *test, Datum datum)
{
	ArrayType *array = DatumGetArrayTypeP(datum);
	Datum *elements;
	bool *nulls;
	int count;

	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	test->values = palloc(sizeof(Value) * Max(count, 1));
	/* A NULL in the array can be ignored: it turns a false = ANY into NULL, and the row does not pass either way. */
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			add_value(test, elements[i]);
	qsort(test->values, test->nvalues, sizeof(Value), compare_values);
}

void
clari_filter_evaluate(ClariFilter *filter, ExprContext *econtext)
{
	MemoryContext previous;

	MemoryContextReset(filter->context);
	previous = MemoryContextSwitchTo(filter->context);
	for (int i = 0; i < filter->ntests; i++)
	{
		Test *test = &filter->tests[i];
		Datum value;
		bool isnull;

		test->nvalues = 0;
		if (test->compared == NULL)
			continue;
		value = ExecEvalExpr(test->compared, econtext, &isnull);
		if (isnull)
			continue;
		if (OidIsValid(get_element_type(test->type)))
			add_array(test, value);
		else
		{
			test->values = palloc(sizeof(Value));
			add_value(test, value);
		}
	}
	MemoryContextSwitchTo(previous);
}

bool
clari_filter_needs(const ClariFilter *filter, int attribute)
{
	for (int i = 0; i < filter->ntests; i++)
		if (filter->tests[i].attribute == attribute)
			return true;
	return false;
}

/* ------- testing ------- */

/* Does a value pass?  A NULL pointer stands for a null.  Stored texts always have a four-byte header. */
static inline bool
passes(const Test *test, const char *varlena)
{
	Value value;

	if (test->kind != TEST_EQUAL)
		return (varlena == NULL) == (test->kind == TEST_NULL);
	if (varlena == NULL || test->nvalues == 0)
		return false;
	if (test->nvalues == 1)
		return VARSIZE(varlena) - VARHDRSZ == test->values[0].length &&
			   memcmp(VARDATA(varlena), test->values[0].bytes, test->values[0].length) == 0;
	value = (Value){VARDATA(varlena), VARSIZE(varlena) - VARHDRSZ, 0};
	return bsearch(&value, test->values, test->nvalues, sizeof(Value), compare_values) != NULL;
}

/* Sets filter->passing for each code of the chunk's dictionary (0 is NULL); false if none passes. */
static bool
test_dictionary(ClariFilter *filter, const Test *test, const ClariChunk *chunk)
{
	bool any;

	if (filter->npassing <= chunk->ndistinct)
	{
		filter->npassing = chunk->ndistinct + 1;
		filter->passing = repalloc(filter->passing, filter->npassing);
	}
	any = filter->passing[0] = passes(test, NULL);
	for (uint32 i = 0; i < chunk->ndistinct; i++)
	{
		bool pass = passes(test, chunk->bytes + chunk->offsets[i]);

		filter->passing[i + 1] = pass;
		any |= pass;
	}
	return any;
}

/*
 * Keeps in picked the rows that pass the test, and returns how many.  With all, the
 * group's nrows rows are tested; otherwise the nrows rows that are in picked.
 */
static uint32
test_rows(ClariFilter *filter, const Test *test, const ClariChunk *chunk, uint32 nrows, bool all, uint32 *picked)
{
	bool by_code = chunk->encoding == CLARI_ENCODING_DICTIONARY;
	uint32 count = 0;

	if (by_code ? !test_dictionary(filter, test, chunk)
				: chunk->encoding != CLARI_ENCODING_PLAIN && !passes(test, clari_chunk_varlena(chunk, 0)))
		return 0;
	for (uint32 i = 0; i < nrows; i++)
	{
		uint32 row = all ? i : picked[i];
		bool pass = true;

		if (by_code)
			pass = filter->passing[chunk->codes[row]];
		else if (chunk->encoding == CLARI_ENCODING_PLAIN)
			pass = passes(test, chunk->offsets[row] == 0 ? NULL : chunk->bytes + chunk->offsets[row]);
		picked[count] = row;
		count += pass;
	}
	return count;
}

static bool
has_hash(const ClariChunk *hashes, uint16 hash)
{
	bool found = false;

	/* Usually the hash is not there and the loop runs to its end, which is faster without an early exit. */
	for (uint32 i = 0; i < hashes->ndistinct; i++)
		found |= hashes->codes[i] == hash;
	return found;
}

bool
clari_filter_can_pass(const ClariFilter *filter, int attribute, const ClariChunk *hashes)
{
	for (int i = 0; i < filter->ntests; i++)
	{
		const Test *test = &filter->tests[i];
		bool found = test->kind != TEST_EQUAL || test->attribute != attribute || test->nvalues > MOST_HASHED;

		for (int k = 0; k < test->nvalues && !found; k++)
			found = has_hash(hashes, test->values[k].hash);
		if (!found)
			return false;
	}
	return true;
}

uint32
clari_filter_group(ClariFilter *filter, const ClariChunk *chunks, uint32 nrows, uint32 *picked)
{
	for (int i = 0; i < filter->ntests && nrows > 0; i++)
	{
		const Test *test = &filter->tests[i];

		nrows = test_rows(filter, test, &chunks[test->attribute], nrows, i == 0, picked);
	}
	return nrows;
}
