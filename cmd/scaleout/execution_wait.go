package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
)

const (
	firstPoll = 100 * time.Millisecond
	lastPoll  = time.Second
	// outage is how long a wait goes on while no master answers: executions run on without masters.
	outage = 2 * time.Minute
)

// nobodyAnswers is shown during such an outage.
const nobodyAnswers = "no leader answers; trying on"

// await waits for the end of an execution, shows its progress and makes its result the exit code.
func (a *app) await(cmd *cobra.Command, c *client.Client, id int64, timeout time.Duration) error {
	ctx := cmd.Context()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	names := newWorkerLabels(c)
	p := newProgress(cmd.ErrOrStderr(), id)
	before := a.notices.to(func(string) { p.say(nobodyAnswers) })
	row, err := untilEnded(ctx, c, id, names, p)
	a.notices.to(before)
	p.end()
	switch {
	case err == nil:
	case cmd.Context().Err() != nil:
		return fmt.Errorf("interrupted; execution %d goes on: 'scaleout execution wait %d' waits again", id, id)
	case ctx.Err() != nil:
		return &statusError{exitTimedOut, fmt.Errorf(
			"execution %d has not ended within %v and goes on: 'scaleout execution wait %d' waits again, 'scaleout execution "+
				"why %d' explains", id, timeout, id, id)}
	default:
		return friendly(err)
	}
	status := rowStatus(row)
	if err := a.object(cmd, []pair{
		{"execution_id", id}, {"package", packagePath(row)}, {"status", status.String()}, {"took", took(row)},
		{"worker", where(row)}, {"attempts", row["executed_count"]},
	}); err != nil {
		return err
	}
	code := resultCode(status)
	if code == exitFailed {
		for _, m := range (&logReader{c: c, id: id}).lastErrors(cmd.Context(), 5) {
			sayf(cmd.ErrOrStderr(), "  %s", m.Text("message"))
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "'scaleout execution why %d' says more, 'scaleout execution logs %d' all.\n", id, id)
	}
	if code != exitOK {
		return &statusError{code: code}
	}
	return nil
}

// resultCode is the exit code of an ended execution.
func resultCode(status catalog.Status) int {
	switch status {
	case catalog.Succeeded, catalog.Completed:
		return exitOK
	case catalog.Canceled:
		return exitCanceled
	}
	return exitFailed
}

// untilEnded polls the execution until it has ended, across changes of leader.
func untilEnded(ctx context.Context, c *client.Client, id int64, names *workerLabels, p *progress) (client.Row, error) {
	pause, lastAnswer, pendingSince := firstPoll, time.Now(), time.Time{}
	for {
		row, err := execution(ctx, c, id)
		switch {
		case err == nil:
			lastAnswer = time.Now()
			names.describe(ctx, row)
			if rowStatus(row).HasEnded() {
				p.show(row, waitingFor{})
				return row, nil
			}
			var reason waitingFor
			if rowStatus(row) == catalog.Pending {
				if pendingSince.IsZero() {
					pendingSince = time.Now()
				}
				if time.Since(pendingSince) > time.Second {
					reason = pendingReason(ctx, c, id)
				}
			}
			p.show(row, reason)
		case ctx.Err() != nil:
			return nil, err
		case errors.Is(err, client.ErrNoLeader) || errors.Is(err, client.ErrUnreachable):
			if time.Since(lastAnswer) > outage {
				return nil, err
			}
			p.say(nobodyAnswers)
		default:
			return nil, err
		}
		if err := sleep(ctx, pause+rand.N(pause/2)); err != nil {
			return nil, err
		}
		pause = min(pause*3/2, lastPoll)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// waitingFor is why an execution waits: a code, and a sentence whose times and numbers change while the code stays.
// Both are empty if the reason is not known.
type waitingFor struct{ code, text string }

func pendingReason(ctx context.Context, c *client.Client, id int64) waitingFor {
	page, err := c.View(ctx, "tasks", client.Query{Equal: map[string]any{"execution_id": id, "status": "pending"}})
	if err != nil || len(page.Rows) == 0 {
		return waitingFor{}
	}
	return waitingFor{page.Rows[0].Text("reason"), page.Rows[0].Text("reason_text")}
}

// progress shows the state of an execution: on a terminal as one line that changes, elsewhere as a line for each
// change.
type progress struct {
	w     *show.Writer
	id    int64
	live  bool
	since time.Time

	mu   sync.Mutex
	last string // state
	turn int
}

func newProgress(w io.Writer, id int64) *progress {
	out := show.Of(w)
	return &progress{w: out, id: id, live: out.Screen().Terminal, since: time.Now()}
}

func (p *progress) show(row client.Row, reason waitingFor) {
	status := rowStatus(row)
	text := status.String()
	if where := where(row); where != "" && (status == catalog.Running || status == catalog.Stopping) {
		text += " on " + where
	}
	if n, _ := row.Int("executed_count"); n > 1 {
		text += fmt.Sprintf(", attempt %d", n)
	}
	state := text + ": " + reason.code
	if reason.text != "" {
		text += ": " + reason.text
	}
	p.update(state, text)
}

// say shows a text.
func (p *progress) say(text string) { p.update(text, text) }

// update shows a text, from any goroutine. Without a terminal it shows the text only if the state has changed.
func (p *progress) update(state, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live {
		p.turn++
		p.w.Status(fmt.Sprintf("%c execution %d %s  %s", `|/-\`[p.turn%4], p.id, text,
			time.Since(p.since).Round(time.Second)))
		return
	}
	if state != p.last {
		p.last = state
		sayf(p.w, "%s execution %d %s", time.Now().Format(time.TimeOnly), p.id, text)
	}
}

// end clears the line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live {
		p.w.Status("")
	}
}
