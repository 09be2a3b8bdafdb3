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
 * What each column of a foreign table means, by its name or by column option
 * "key": natts elements, palloc'd; those of dropped columns are left zero.
 * Raises ERRCODE_FDW_COLUMN_NAME_NOT_FOUND for a column that means nothing,
 * with the names there are.
 */
extern ClariColumn *clari_columns_map(const ClariOptions *options, TupleDesc tupdesc);

/*
 * Are the rows by the quarter that was asked for, so that this alone decides on a
 * condition on their period?  Not "forecasts" by month or year.
 */
extern bool clari_columns_by_quarter(const ClariOptions *options);

/*
 * Does the column show the period by which an export is asked for; or, where
 * "forecasts" are by month or year, which follows from that as far as the fiscal
 * calendar is known?
 */
extern bool clari_columns_is_period(const ClariOptions *options, const ClariColumn *column);

/* The SQL type that holds a stored value as it is. */
extern Oid clari_columns_type(ClariType type);

/* Can a stored value go into a column of this type without conversion? */
extern bool clari_columns_same_type(ClariType type, Form_pg_attribute attribute);

/*
 * Are texts equal by this collation only if their bytes are equal?  False for
 * InvalidOid, which stands for collations that contradict each other.
 */
extern bool clari_columns_is_bytewise(Oid collation);

#endif /* CLARI_COLUMNS_H */
