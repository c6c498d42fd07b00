package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"scaleout/cmd/dev"
	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
)

const (
	submitters = 8
	probePause = 50 * time.Millisecond
	countPause = 200 * time.Millisecond
	// timeout bounds the demo from the first execution to the last result.
	timeout = 3 * time.Minute
)

// Config is one run of the demonstration.
type Config struct {
	Cluster                  *dev.Cluster
	Folder, Project, Package string
	Output                   string // folder that the packages write to
	Count                    int    // executions
	Progress                 Progress
}

// Progress is told how the demonstration goes, by one goroutine.
type Progress interface {
	// Ended says how many executions have ended.
	Ended(n int)
	// Killed says which leader was killed.
	Killed(Killed)
}

// Killed is the leader that was killed.
type Killed struct {
	Name      string // "": none was
	Succeeded int    // executions that had succeeded then
}

// Run starts the executions, kills the leader, waits until all executions have ended and counts.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	d := &demo{Config: cfg, client: cfg.Cluster.Client()}
	if err := os.MkdirAll(d.Output, 0o755); err != nil {
		return nil, err
	}
	// A resumed directory holds the results of an earlier demo.
	if err := os.Remove(d.ran()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	probe, err := cfg.Cluster.NewClient()
	if err != nil {
		return nil, err
	}
	defer probe.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not all executions ended within %v", timeout))
	defer cancel()
	if err := d.run(ctx, probe); err != nil {
		return nil, err
	}
	return d.result(ctx)
}

type demo struct {
	Config
	client *client.Client

	before int64 // the highest execution id of before the demonstration
	ids    []int64
	gaps   gaps
	killed Killed
}

// ran is the file to which each package appends the id of its execution.
func (d *demo) ran() string { return filepath.Join(d.Output, "ran.txt") }

func (d *demo) run(ctx context.Context, probe *client.Client) error {
	watched, stop := context.WithCancel(ctx)
	var prober sync.WaitGroup
	prober.Go(func() { d.gaps.watch(watched, probe) })
	defer prober.Wait()
	defer stop()

	var err error
	if d.before, err = d.newest(ctx); err != nil {
		return err
	}
	d.ids = make([]int64, d.Count)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.submit(ctx) })
	g.Go(func() error { return d.follow(ctx) })
	return g.Wait()
}

// submit creates and starts the executions, several at once.
func (d *demo) submit(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(submitters)
	for i := range d.Count {
		g.Go(func() error {
			id, err := d.execute(ctx, i)
			d.ids[i] = id
			return err
		})
	}
	return g.Wait()
}

// execute creates and starts one execution. Each has its own day and region.
func (d *demo) execute(ctx context.Context, i int) (int64, error) {
	created, err := d.client.Call(ctx, "create_execution", map[string]any{
		"folder_name": d.Folder, "project_name": d.Project, "package_name": d.Package,
		"use32bitruntime": false, "runinscaleout": true, "useanyworker": true,
	})
	if err != nil {
		return 0, err
	}
	id, ok := created.Int("execution_id")
	if !ok {
		return 0, fmt.Errorf("create_execution returned no execution_id: %v", created.Output)
	}
	regions := []string{"north", "east", "south", "west"}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i/len(regions))
	for _, p := range []struct {
		objectType  int
		name, value string
	}{
		{catalog.ObjectPackage, "Day", day.Format(time.DateOnly)},
		{catalog.ObjectPackage, "Region", regions[i%len(regions)]},
		{catalog.ObjectProject, "OutputFolder", d.Output},
	} {
		_, err := d.client.Call(ctx, "set_execution_parameter_value", map[string]any{
			"execution_id": id, "object_type": p.objectType, "parameter_name": p.name, "parameter_value": p.value,
		})
		if err != nil {
			return id, err
		}
	}
	_, err = d.client.Call(ctx, "start_execution", map[string]any{"execution_id": id, "retry_count": 0})
	return id, err
}

// follow counts what has ended, and kills the leader when a third have succeeded.
func (d *demo) follow(ctx context.Context) error {
	for {
		succeeded, ended, err := d.count(ctx)
		if err != nil {
			return err
		}
		d.Progress.Ended(ended)
		if ended >= d.Count {
			return nil
		}
		if d.killed.Name == "" && d.Cluster.Masters > 1 && succeeded*3 >= d.Count {
			d.killLeader(ctx, succeeded)
		}
		if !sleep(ctx, countPause) {
			return context.Cause(ctx)
		}
	}
}

// count counts this demo's executions that succeeded and those that ended. A resumed directory has older ones too; ids
// only grow, so those are below before.
func (d *demo) count(ctx context.Context) (succeeded, ended int, err error) {
	rows, err := d.executions(ctx)
	for _, r := range rows {
		status, _ := r.Int("status")
		if catalog.Status(status) == catalog.Succeeded {
			succeeded++
		}
		if catalog.Status(status).HasEnded() {
			ended++
		}
	}
	return succeeded, ended, err
}

// executions are the newest rows, as many as this demo starts.
func (d *demo) executions(ctx context.Context) ([]client.Row, error) {
	var rows []client.Row
	for r, err := range d.client.Rows(ctx, "executions", client.Query{
		Equal: map[string]any{"folder_name": d.Folder}, Order: []string{"-execution_id"}, PageSize: min(d.Count, 1000),
	}) {
		if err != nil {
			return nil, err
		}
		if rows = append(rows, r); len(rows) == d.Count {
			break
		}
	}
	return slices.DeleteFunc(rows, func(r client.Row) bool {
		id, _ := r.Int("execution_id")
		return id <= d.before
	}), nil
}

// newest is the highest id of an execution that there is.
func (d *demo) newest(ctx context.Context) (int64, error) {
	page, err := d.client.View(ctx, "executions", client.Query{Order: []string{"-execution_id"}, PageSize: 1})
	if err != nil || len(page.Rows) == 0 {
		return 0, err
	}
	id, _ := page.Rows[0].Int("execution_id")
	return id, nil
}

// killLeader kills the process that leads. If none leads just now, the next count finds one.
func (d *demo) killLeader(ctx context.Context, succeeded int) {
	leader, err := d.client.Leader(ctx)
	if err != nil || !d.Cluster.Kill(leader.Name) {
		return
	}
	d.killed = Killed{leader.Name, succeeded}
	d.Progress.Killed(d.killed)
}

// gaps finds the longest time in which the cluster took no write.
type gaps struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	writes  int
}

// watch writes over and over until ctx ends: enable_scaleout goes the whole way of a write and changes nothing.
func (g *gaps) watch(ctx context.Context, c *client.Client) {
	for {
		if _, err := c.Call(ctx, "enable_scaleout", nil); err == nil {
			g.took(time.Now())
		}
		if !sleep(ctx, probePause) {
			return
		}
	}
}

func (g *gaps) took(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writes++; g.writes > 1 {
		g.longest = max(g.longest, now.Sub(g.last))
	}
	g.last = now
}

func (g *gaps) gap() (time.Duration, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.longest, g.writes
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
