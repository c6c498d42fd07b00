// Package spool keeps what a worker has to hand over and no master has taken yet: the final reports of ended attempts,
// and the messages of running and ended attempts.
//
// What it promises:
//
//   - What [Spool.AddReport] and [Spool.AppendMessages] accept is on disk when they return. It is offered again after a
//     crash, until [Spool.Settled] or [Spool.Accepted] says that the cluster has it.
//   - The messages of an attempt are numbered from 1 without a gap, in the order in which they are appended. The
//     numbers
//     survive a restart, so resending makes no duplicates: the cluster skips the numbers that it has.
//   - The mark of an append (how far the source was read) is stored in the same record as its messages. So after a
//     crash
//     the source is read from exactly there.
//   - The messages of each attempt are bounded in number and bytes, and so is the whole spool. The first message that
//     does
//     not fit is replaced by a notice. The last messages ([Spool.CloseAttempt]) have room of their own.
//   - A record that a crash cut in half is dropped when the spool is opened; everything before it stays.
//
// It knows nothing of the package's files, of masters, or of time. Several goroutines may use it at the same time.
package spool
