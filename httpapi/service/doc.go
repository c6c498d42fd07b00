// Package service is what a door does with a request once it knows who sent it: it calls a procedure, reads a view,
// or exchanges with a worker, on the leader; a view also on any master, where that is asked for.
//
// It promises that every door has the same rules: permission before arguments, one answer for one request key, a
// refusal only after a proof of leadership, and no proof where the commit of a command is one. It knows no HTTP.
package service
