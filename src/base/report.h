/*
 * report.h
 *		Plain errors, and texts of the service, become PostgreSQL's.
 */
#ifndef CLARI_REPORT_H
#define CLARI_REPORT_H

#include "base/error.h"

/*
 * Reports the error at elevel (ERROR does not return) with the SQLSTATE that
 * belongs to its code.  The texts are UTF-8 and are converted to the
 * database's encoding as far as it can hold them.
 */
extern void clari_error_report(int elevel, const ClariError *error);

/*
 * The text, UTF-8 of any origin, fit for a message, the server's log and the
 * client: in the database's encoding, '?' for each character that it lacks (a
 * conversion proper would raise), a space for control characters but line ends.
 * palloc'd.
 */
extern char *clari_report_text(const char *utf8);

#endif /* CLARI_REPORT_H */
