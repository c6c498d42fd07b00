// Package leader makes leadership a scope instead of a flag.
//
// A Runner turns Raft's notifications into generations. Each generation is established, declared ready, given its
// routines, and on loss ended in a fixed order: not ready, cancel, wait for every goroutine, drop memory. A generation
// never begins before the one before it has ended completely, so two sets of routines never run side by side.
//
// It promises that the notification channel is drained by a goroutine that does nothing else: Raft blocks on that
// channel, and a reader that also waits for routines to end can deadlock with it. It knows nothing of Raft, of terms or
// of what is established; its caller does.
package leader
