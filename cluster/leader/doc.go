// Package leader makes leadership a scope instead of a flag.
//
// A Runner turns Raft's notifications into generations. A generation is established, declared ready and given its
// routines. When leadership is lost the generation is ended in a fixed order: it is not ready any more, its context is
// cancelled, every goroutine is waited for, and its memory is dropped. A generation never begins before the previous
// one has ended completely, so two sets of routines never run side by side.
//
// It promises that a goroutine which does nothing else drains the notification channel: Raft blocks on that channel,
// and a reader that also waits for routines to end could deadlock with it. It knows nothing of Raft, of terms or of
// what is established; its caller does.
package leader
