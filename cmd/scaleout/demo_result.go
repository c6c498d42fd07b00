package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// demoResult is what came of a demo.
type demoResult struct {
	started, succeeded, failed int
	attempts                   int64
	killed                     killed
	masters                    int
	gap                        time.Duration
	writes                     int
	twice, never, unknown      []string // ids: run more than once, not run, run though not started by this demo
}

func (d *demo) result(ctx context.Context) (*demoResult, error) {
	r := &demoResult{started: len(d.ids), killed: d.kill, masters: d.Masters}
	rows, err := d.executions(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if status, _ := row.Int("status"); status == 7 {
			r.succeeded++
		} else {
			r.failed++
		}
		n, _ := row.Int("executed_count")
		r.attempts += n
	}
	r.gap, r.writes = d.gaps.gap()
	ran, err := os.ReadFile(d.ran())
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	r.count(d.ids, string(ran))
	return r, nil
}

// count holds the ids that the packages wrote against those that were started.
func (r *demoResult) count(ids []int64, ran string) {
	times := map[string]int{}
	for line := range strings.Lines(ran) {
		times[strings.TrimSpace(line)]++
	}
	for _, id := range ids {
		key := fmt.Sprint(id)
		switch n := times[key]; {
		case n == 0:
			r.never = append(r.never, key)
		case n > 1:
			r.twice = append(r.twice, key)
		}
		delete(times, key)
	}
	for key := range times {
		r.unknown = append(r.unknown, key)
	}
}

func (r *demoResult) good() bool {
	return r.succeeded == r.started && len(r.never)+len(r.twice)+len(r.unknown) == 0 && (r.killed.name != "" || r.masters == 1)
}

func (r *demoResult) verdict() error {
	if r.good() {
		return nil
	}
	return &statusError{exitFailed, fmt.Errorf("the demo failed: see the table")}
}

func (r *demoResult) print(a *app, out io.Writer, took time.Duration) {
	ids := func(list []string) string {
		if len(list) == 0 {
			return "0"
		}
		return fmt.Sprintf("%d: %s", len(list), shorten(strings.Join(list, " "), 60))
	}
	once := r.started - len(r.never) - len(r.twice)
	leader := "none"
	if r.killed.name != "" {
		leader = fmt.Sprintf("%s, when %d had succeeded", r.killed.name, r.killed.done)
	}
	verdict := "yes"
	if !r.good() {
		verdict = "NO"
	}
	body := [][]any{
		{"executions started", r.started}, {"succeeded", r.succeeded}, {"failed", r.failed}, {"attempts", r.attempts},
		{"leader killed", leader},
		{"longest time without a leader", fmt.Sprintf("%v (of %d writes, one after the other)", rounded(r.gap), r.writes)},
		{"ran exactly once", once}, {"never ran", ids(r.never)}, {"ran twice or more", ids(r.twice)},
		{"took", rounded(took)}, {"nothing lost, nothing doubled", verdict},
	}
	if len(r.unknown) > 0 {
		body = append(body, []any{"ran without being started", ids(r.unknown)})
	}
	fmt.Fprintln(out)
	to := &cobra.Command{}
	to.SetOut(out)
	a.table(to, heads("What", "Result"), body)
}
