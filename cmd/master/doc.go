// Package master is a whole Scale Out Master as a library: the command line, dev mode and the test clusters start the
// same one.
//
// New opens what can fail for a reason that a person must mend (settings, certificates, data directory, ports); Run
// serves until its context ends and then stops in the order that loses nothing. The package constructs the rooms,
// connects them, starts them and stops them. It holds no rule of its own: adapters.go converts types between rooms that
// do not know each other, and whatever decides something is a room with tests.
package master
