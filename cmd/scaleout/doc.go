// Command scaleout is the Scale Out Master, the Scale Out Worker and everything that people type: one binary.
//
// Each noun has a file. A verb checks its arguments, calls a library room (cmd/master, cmd/worker, httpapi/client) and
// prints; nothing is decided here. Exit codes: 0 ok, 1 error, 2 usage, 3 execution failed, 4 canceled, 5 timed out,
// 6 no leader or unreachable.
package main
