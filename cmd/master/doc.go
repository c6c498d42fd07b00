// Package master is a whole Scale Out Master as a library: the command line, dev mode and the test clusters start the
// same one.
//
// New opens what can fail for a reason that a person must mend (settings, certificates, data directory, ports); Run
// serves until its context ends and then stops in the order that loses nothing. The package holds the wiring of the
// rooms, the adapters between httpapi and cluster, and no logic of its own.
package master
