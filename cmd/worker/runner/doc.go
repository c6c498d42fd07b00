// Package runner knows which program runs a package, and what the package gets: arguments, environment, files.
//
// A package is run by the program of its extension. [New] looks which of them this machine has; [Set.Prepare] turns a
// grant into a command; [Set.Verdict] turns an exit code into an outcome, with the documented meaning where dtexec has
// one.
//
// What it promises: no secret ever stands in an argument, where every user of the machine could read it. Parameters go
// through the environment and through files of mode 0600 that [Command.Remove] lists; whoever runs the command removes
// them when it has ended.
//
// It starts nothing itself: that is package guard's work.
package runner
