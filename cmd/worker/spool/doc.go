// Package spool keeps what a worker has to say and no master has taken yet: the final reports of ended attempts, and
// the messages of running and ended ones.
//
// What it promises:
//
//   - What [Spool.AddReport] and [Spool.AppendMessages] accepted is on disk when they return, and is offered again
//     after a crash, until [Spool.Settled] or [Spool.Accepted] says that the cluster has it.
//   - Messages of an attempt are numbered from 1 without a gap, in the order of their appending. The numbers survive a
//     restart: resending makes no doubles, since the cluster skips what it has.
//   - The mark that comes with an append (how far the source was read) is stored in the same record: after a crash the
//     source is read on exactly there.
//   - Each attempt's messages are bounded in number and bytes, and so is the whole spool. The first message that does
//     not fit is replaced by a notice; closing words ([Spool.Close]) have room of their own.
//   - A record that a crash cut in half is dropped when the spool is opened; everything before it stays.
//
// It knows nothing of files of the package, of masters, or of time. It is safe for use by several goroutines.
package spool
