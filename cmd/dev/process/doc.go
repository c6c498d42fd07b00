// Package process holds one child process of this program: how it is started, watched and ended.
//
// Its standard input is what the two sides speak through. The parent writes a word per line; the end of the input means
// that the parent is gone, in whatever way it died, and then the child ends, too. A pipe does this on every system.
//
// What it promises:
//
//   - A child does not outlive its parent, unless it is [Process.Kill]ed first or refuses to end.
//   - Ctrl-C in a terminal reaches the parent alone, which decides when the child ends.
//   - After [Process.Done] is closed the child is gone, and how it ended is known.
//
// What it leaves to others: what to start, how long an orderly end may take, and whether to start it again.
package process
