// Package httpapi is the masters' HTTPS interface: the catalog for users, the exchange for workers, status and
// operations for administrators, health and metrics for machines.
//
// Everything about a route but its work stands in one table: who may call it, whether the master asked answers or the
// leader, how large its body may be, how long it may take, whether it may be repeated, and how it is described in
// OpenAPI. Procedures and views are not routes of their own: they come from the catalog's registry, and so do their
// permissions, their argument checks and their descriptions.
//
// The package promises that no route does anything for a caller without a certificate of this cluster unless the table
// says so; that every error is a problem document with a stable code; that a call reaches the leader in at most one
// hop; and that a procedure call with a request key is applied at most once, whatever is retried. What a request does
// is package service's; this package declares the other interfaces that it needs, and knows nothing of Raft, leases,
// rows or disks.
package httpapi
