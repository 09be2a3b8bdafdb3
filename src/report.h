/*
 * report.h
 *		The one place where a plain ClariError becomes an ereport.
 */
#ifndef CLARI_REPORT_H
#define CLARI_REPORT_H

#include "error.h"

/*
 * Reports the error at elevel (ERROR does not return) with the SQLSTATE that
 * belongs to its code.  The texts are UTF-8 and are converted to the
 * database's encoding as far as it can hold them.
 */
extern void clari_error_report(int elevel, const ClariError *error);

#endif /* CLARI_REPORT_H */
