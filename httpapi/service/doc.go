// Package service is what a door does with a request once it knows who sent it: it calls a procedure, reads a view,
// exchanges with a worker, follows events, stores and opens project files. A master makes one service and gives it to
// each of its doors.
//
// It promises that every door has the same rules: permission before arguments, one answer for one request key, a
// refusal only after a proof of leadership, and no proof where the commit of a command is one. Calls, exchanges and
// linearizable reads are for the leader; the rest answers from this node's state, whoever leads. It knows no HTTP.
package service
