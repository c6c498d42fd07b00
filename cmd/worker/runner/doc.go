// Package runner knows which program runs a package and what the package gets: arguments, environment, files.
//
// The extension of a package decides which program runs it. [New] finds the programs of this machine, [Set.Prepare]
// turns a grant into a command, and [Outcome] turns an exit code into an outcome, with the documented meaning of
// dtexec's codes.
//
// What it promises: no secret ever appears in an argument, where every user of the machine could read it. Parameters
// are passed in the environment and in files of mode 0600, which [Command.Remove] lists. Whoever runs the command
// removes them when it has ended.
//
// It starts nothing itself: package guard does.
package runner
