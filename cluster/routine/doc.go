// Package routine holds leader routines: heartbeat, expiry and cleanup.
//
// A routine is a value with a Run method that ends with its context. Package leader starts the routines when a
// leadership is ready, and waits for them when it ends. A routine that fails in one round logs that and tries again in
// the next: correctness does not depend on any round, and every round may come late.
package routine
