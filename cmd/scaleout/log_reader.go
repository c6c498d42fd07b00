package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// lateMessages is how long the last messages of an ended execution are waited for after the newest that came.
const lateMessages = 10 * time.Second

// lateErrors is the same for the errors that are shown below a result.
const lateErrors = 3 * time.Second

// logReader reads messages in order, each once. Messages are only ever added behind the last one.
type logReader struct {
	c      *client.Client
	id     int64
	follow bool // until the execution has ended; else until there is nothing more to read now
	token  string
	last   int64 // operation_message_id that was shown
	// state is how complete the messages were at the last page.
	state wire.MessagesState
	late  time.Duration // 0: lateMessages or lateErrors
}

// read shows the new messages and reports whether there were any.
func (r *logReader) read(ctx context.Context, show func(client.Row) error) (bool, error) {
	some := false
	for {
		page, err := r.c.View(ctx, "operation_messages", client.Query{
			Equal: map[string]any{"operation_id": r.id}, PageSize: 500, PageToken: r.token,
		})
		if err != nil {
			return some, err
		}
		for _, m := range page.Rows {
			n, _ := m.Int("operation_message_id")
			if n <= r.last {
				continue // shown before: the last page is read again each time, since it grows
			}
			r.last, some = n, true
			if err := show(m); err != nil {
				return some, err
			}
		}
		r.note(page)
		if page.Next == "" {
			return some, nil
		}
		r.token = page.Next
	}
}

// note keeps how complete the messages are.
func (r *logReader) note(page client.Page) {
	r.state = wire.MessagesState{Ended: true, Complete: true} // no more messages come of an operation that does not exist
	if page.Messages != nil {
		r.state = *page.Messages
	}
}

// all shows every message.
func (r *logReader) all(ctx context.Context, show func(client.Row) error) error {
	return r.complete(ctx, cmp.Or(r.late, lateMessages), func() (bool, error) { return r.read(ctx, show) })
}

// lastErrors returns the last error messages of an execution that has just ended. It waits for messages that its
// workers have announced and not yet delivered.
func (r *logReader) lastErrors(ctx context.Context, most int) []client.Row {
	// After an error the messages that arrived before are still shown.
	_ = r.complete(ctx, cmp.Or(r.late, lateErrors), func() (bool, error) {
		page, err := r.c.View(ctx, "operation_messages",
			client.Query{Equal: map[string]any{"operation_id": r.id}, PageSize: 1})
		if err == nil {
			r.note(page)
		}
		return false, err
	})
	return lastErrors(ctx, r.c, r.id, most)
}

// complete calls look until the messages are complete. With follow it waits until the execution has ended; then it
// waits for messages that workers have announced, for at most late after the newest. look reports whether it found any.
func (r *logReader) complete(ctx context.Context, late time.Duration, look func() (bool, error)) error {
	pause, news := firstPoll, time.Now()
	for {
		missing := r.state.Missing
		some, err := look()
		if err != nil {
			return err
		}
		if some || r.state.Missing != missing {
			pause, news = firstPoll, time.Now()
		}
		switch {
		case r.state.Ended && (r.state.Missing == 0 || time.Since(news) > late):
			return nil
		case !r.state.Ended && !r.follow:
			return nil
		}
		if sleep(ctx, pause) != nil {
			return nil // interrupted by the reader
		}
		pause = min(pause*3/2, lastPoll)
	}
}

// lastErrors are the last error messages of an operation, in order; none when they cannot be read.
func lastErrors(ctx context.Context, c *client.Client, id int64, most int) []client.Row {
	page, err := c.View(ctx, "operation_messages", client.Query{
		Equal: map[string]any{"operation_id": id, "message_type": catalog.MessageError},
		Order: []string{"-operation_message_id"}, PageSize: most,
	})
	if err != nil {
		return nil
	}
	slices.Reverse(page.Rows)
	return page.Rows
}

// incomplete says on stderr which messages of an ended execution are missing. It returns an error if they may still
// come.
func (r *logReader) incomplete(cmd *cobra.Command) error {
	if !r.state.Ended {
		return nil
	}
	if n := r.state.LostAttempts; n > 0 {
		sayf(cmd.ErrOrStderr(), "%d %s lost with the worker: the lines written last may be missing ('scaleout execution "+
			"why %d' says more)",
			n, plural(n, "attempt"), r.id)
	}
	if r.state.Missing > 0 {
		return &statusError{exitTimedOut, fmt.Errorf(
			"%d messages of execution %d have not come in yet: its worker keeps them until it reaches a master; 'scaleout "+
				"execution logs %d' shows them then",
			r.state.Missing, r.id, r.id)}
	}
	return nil
}
