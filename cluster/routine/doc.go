// Package routine holds leader routines: heartbeat, expiry and cleanup.
//
// Each loop is a value with a Run method that ends with its context; package leader starts them when a leadership is
// ready and waits for them when it ends. A loop that fails a round logs it and tries again at the next one: nothing
// here is needed for correctness at a given moment, and everything here is safe to do late.
package routine
