#!/bin/bash
# conform.sh
#		Whether all that is said between clari_fdw and the simulator is as Clari's
#		document has it: bash test/conform.sh DOCUMENT [FILE…]
#
# DOCUMENT is Clari's OpenAPI document, which is not ours to give away.  Runs the TAP
# tests, or those that are named, while the simulator records each request and its
# answer, and then holds every request, and every answer that takes no liberty on
# purpose, against the document: see conform.js.  How the tests do is not its business.
#
# Ends with the number of violations, and with 77 if there is no document, or neither
# the validator (an npm package, kept in the user's cache directory) nor a way to get
# it.  check.sh does the same where CLARI_OPENAPI names the document.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ -z "$work" ]; then
	export CLARI_OPENAPI=${1:-}
	reason=$(why_no_validation)
	if [ -n "$reason" ]; then
		echo "conform: NOT RUN: $reason"
		exit 77
	fi
	install_packages missing_to_test
	run_inside "${@:2}"
fi

cd "$tree"
make -s -j2 all install
export CLARI_SIM_RECORD=$work/record
make -s installcheck REGRESS= ISOLATION= PROVE_FLAGS=-j2 PROVE_TESTS="${*:-test/t/*.pl}" || :
validate_record
