/*
 * columns.h
 *		What the columns of a foreign table mean.
 */
#ifndef CLARI_COLUMNS_H
#define CLARI_COLUMNS_H

#include "postgres.h"

#include "access/tupdesc.h"

#include "clari/attribute.h"
#include "options/options.h"

/*
 * Determines what each column of a foreign table means, by its name or by
 * column option "key".  Returns tupdesc->natts elements, palloc'd; those of
 * dropped columns are zero.  Raises ERRCODE_FDW_COLUMN_NAME_NOT_FOUND, with
 * the available names, for any other column.
 */
extern ClariColumn *clari_columns_map(const ClariOptions *options, TupleDesc tupdesc);

/*
 * Are all rows of an export of the requested quarter, so that a condition on
 * their period can be decided from the request alone?  Not so for "forecasts"
 * by month or year.
 */
extern bool clari_columns_by_quarter(const ClariOptions *options);

/*
 * Does the column show the period that the export is requested by?  For
 * "forecasts" by month or year, does it show a period that follows from the
 * requested one, given the fiscal calendar?
 */
extern bool clari_columns_is_period(const ClariOptions *options, const ClariColumn *column);

/* The SQL type of which values of the given kind are stored as Datums. */
extern Oid clari_columns_type(ClariType type);

/* Can a stored value be returned in this column without conversion? */
extern bool clari_columns_same_type(ClariType type, Form_pg_attribute attribute);

/*
 * Are two texts equal by this collation only if their bytes are equal?  False
 * for InvalidOid, which means conflicting collations.
 */
extern bool clari_columns_is_bytewise(Oid collation);

#endif /* CLARI_COLUMNS_H */
