/*
 * report.h
 *		Reports plain errors, and converts texts from the service.
 */
#ifndef CLARI_REPORT_H
#define CLARI_REPORT_H

#include "base/error.h"

/*
 * Reports the error at elevel (does not return for ERROR) with the SQLSTATE of
 * its code.  The texts are converted from UTF-8 to the database's encoding.
 */
extern void clari_error_report(int elevel, const ClariError *error);

/*
 * Converts a UTF-8 text of any origin to the database's encoding, for
 * messages, the server's log and the client.  Characters that the encoding
 * lacks become '?' (an ordinary conversion would raise an error), and control
 * characters other than line feeds become spaces.  The result is palloc'd.
 */
extern char *clari_report_text(const char *utf8);

#endif /* CLARI_REPORT_H */
