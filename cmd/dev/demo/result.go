package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"scaleout/fsm/catalog"
)

// Result is what came of a demonstration.
type Result struct {
	Started, Succeeded, Failed int
	Attempts                   int64
	Killed                     Killed
	Masters                    int
	Gap                        time.Duration // longest time without a write
	Writes                     int           // that were tried, one after the other
	// Ids of executions whose package ran more than once, not at all, or though this demo did not start it.
	Twice, Never, Unknown []string
}

func (d *demo) result(ctx context.Context) (*Result, error) {
	r := &Result{Started: len(d.ids), Killed: d.killed, Masters: d.Cluster.Masters}
	rows, err := d.executions(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if status, _ := row.Int("status"); catalog.Status(status) == catalog.Succeeded {
			r.Succeeded++
		} else {
			r.Failed++
		}
		n, _ := row.Int("executed_count")
		r.Attempts += n
	}
	r.Gap, r.Writes = d.gaps.gap()
	ran, err := os.ReadFile(d.ran())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r.count(d.ids, string(ran))
	return r, nil
}

// count compares the ids that the packages wrote with those that were started.
func (r *Result) count(ids []int64, ran string) {
	times := map[string]int{}
	for line := range strings.Lines(ran) {
		times[strings.TrimSpace(line)]++
	}
	for _, id := range ids {
		key := fmt.Sprint(id)
		switch n := times[key]; {
		case n == 0:
			r.Never = append(r.Never, key)
		case n > 1:
			r.Twice = append(r.Twice, key)
		}
		delete(times, key)
	}
	for key := range times {
		r.Unknown = append(r.Unknown, key)
	}
	slices.Sort(r.Unknown)
}

// Good reports whether nothing was lost and nothing ran twice, though a leader was killed.
func (r *Result) Good() bool {
	return r.Succeeded == r.Started && len(r.Never)+len(r.Twice)+len(r.Unknown) == 0 &&
		(r.Killed.Name != "" || r.Masters == 1)
}
