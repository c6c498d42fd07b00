// Package proposer turns the commands of one leadership into Raft entries and tells each caller what became of its
// command.
//
// It promises:
//
//   - a caller learns precisely one of three things: the state machine's result, an error after which the command was
//     certainly not applied, or command.ErrUnknownOutcome;
//   - nobody waits for a Raft future, because Raft never answers some of them: results come from the state machine;
//   - commands that arrive while entries are on their way form the next entry, so that batches grow with the load and a
//     command on an idle leader waits for nothing;
//   - while leadership is being transferred, commands wait here instead of failing.
//
// It knows nothing of a Node: Raft, the clock and the proof of leadership are functions that its caller hands in. It
// leaves it to its caller to end it with the leadership.
package proposer
