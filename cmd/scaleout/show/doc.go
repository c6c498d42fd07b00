// Package show is how the command line shows something to a person: the one writer through which all output goes, text
// from outside made visible, tables that fit the terminal, colours, and times as a person says them.
package show
