#!/bin/sh
# The whole way of one day: extract, transform, load. At its end it notes who ran, in a file that all executions share;
# one short line appended at once stays whole.
. ./extract.sh
. ./transform.sh
. ./load.sh
echo "$SCALEOUT_EXECUTION_ID" >>"$folder/ran.txt"
