package view

import (
	"context"
	"io"
	"iter"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
)

// Source is where a view's rows come from.
type Source int

// The sources of views.
const (
	FromState    Source = iota // the replicated state: any node, after a proof on the leader
	FromLive                   // also the leader's memory
	FromSegments               // also message segments: needs Query.Messages
)

// View is one catalog view.
type View struct {
	Name       string
	Doc        string
	Columns    []registry.Column
	Permission catalog.Permission
	Source     Source
	// Key names the columns that order the view when the query names none; together they are unique.
	Key []string
	// Rising names columns that never fall while the key rises: an order by them is an order by the key.
	Rising []string
	// Walks reports whether Rows, for this filter, yields in the order of the key, honours Descending and may begin at
	// After: then a page costs what it shows. nil means never.
	Walks func(q *Query) bool
	// Rows yields the rows that may match the filter, typed as the columns say; the caller filters again. It uses an
	// index where the filter allows one.
	Rows func(ctx context.Context, q *Query) iter.Seq2[registry.Row, error]
}

// Query is what a view's function gets.
type Query struct {
	View       *catalog.Reader
	Live       Live // nil under stale
	Messages   MessageSource
	Caller     command.Caller
	Equal      map[string]any // column → typed value, nil for IS NULL
	Descending bool           // by the view's key: lets a view walk its index backwards
	After      registry.Row   // nil, or a row of which only the key's columns are set: the walk may begin there
	Server     string
}

// Live is what only the leader's memory knows.
type Live interface {
	// Reason tells why a pending execution has not been granted, or what is known of a silent running one: a code
	// (command.ReasonSilent and the like) with its arguments.
	Reason(executionID int64) (code string, args []string, ok bool)
	// LastContact is when the leader last heard from a worker.
	LastContact(worker string) (time.Time, bool)
	// Worker is what the leader knows of a registered worker at this moment.
	Worker(id string) (WorkerNow, bool)
	// LeaseUntil is when the lease of a running attempt ends if nothing renews it.
	LeaseUntil(ref command.AttemptRef) (time.Time, bool)
}

// WorkerNow is a worker as the leader sees it.
type WorkerNow struct {
	Online   bool // heard from within twice its agent heartbeat
	Draining bool // it takes nothing new: by its own word it holds nothing more
	Running  int  // attempts that it holds
}

// MessageSource opens a message segment: the local blob, else streamed from a holder.
type MessageSource interface {
	OpenSegment(ctx context.Context, digest string) (io.ReadCloser, error)
}
