// Package procedure is the catalog's stored procedures: the parameters of each, who may call it, and the plan that
// turns its arguments into a command.
//
// It leaves to package catalog what a command does to the state, and to the doors how a call reaches the leader.
package procedure
