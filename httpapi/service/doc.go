// Package service is what a door does with a request once it knows who sent it: it calls a procedure or reads a view,
// on the leader or, where that is asked for, on any master.
//
// It promises that every door has the same rules: permission before arguments, one answer for one request key, a
// refusal only after a proof of leadership, and no proof where the commit of a command is one. It knows no HTTP.
package service
