package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sync/errgroup"

	"scaleout/cmd/scaleout/show"
	"scaleout/httpapi/client"
)

const (
	submitters = 8
	probePause = 50 * time.Millisecond
	countPause = 200 * time.Millisecond
)

// killed is the leader that was killed.
type killed struct {
	name string
	done int // executions that had succeeded then
	at   time.Time
}

// run starts the executions, kills the leader and waits until all have ended.
func (d *demo) run(ctx context.Context) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	var prober sync.WaitGroup
	prober.Go(func() { d.gaps.watch(watch, d.probe) })
	defer prober.Wait()
	defer stop()

	var err error
	if d.after, err = d.newest(ctx); err != nil {
		return err
	}
	d.ids = make([]int64, d.count)
	bar := newBar(d.out, d.count)
	defer bar.end()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.submit(gctx) })
	g.Go(func() error { return d.follow(gctx, bar) })
	return g.Wait()
}

// submit creates and starts the executions, several at once. Each has its own day and region.
func (d *demo) submit(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(submitters)
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	regions := []string{"north", "east", "south", "west"}
	types := map[string]string{parameterKey(objectPackage, "Day"): "DateTime"}
	for i := range d.count {
		g.Go(func() error {
			o := &order{folder: demoFolder, project: d.project, pkg: demoPackage, values: []assignment{
				{objectType: objectPackage, name: "Day", text: first.AddDate(0, 0, i/len(regions)).Format(time.DateOnly)},
				{objectType: objectPackage, name: "Region", text: regions[i%len(regions)]},
				{objectType: objectProject, name: "OutputFolder", text: d.files},
			}}
			id, err := o.createTyped(ctx, d.client, types)
			if err != nil {
				return err
			}
			d.ids[i] = id
			return o.start(ctx, d.client, id, 0)
		})
	}
	return g.Wait()
}

// follow counts what has ended, and kills the leader when a third have succeeded.
func (d *demo) follow(ctx context.Context, bar bar) error {
	for {
		done, over, err := d.progress(ctx)
		if err != nil {
			return err
		}
		bar.at(over)
		if over >= d.count {
			return nil
		}
		if d.kill.name == "" && d.Masters > 1 && done*3 >= d.count {
			if err := d.killLeader(ctx, done); err != nil {
				return err
			}
			bar.say(fmt.Sprintf("%d of %d done: the leader, %s, is killed with SIGKILL", done, d.count, d.kill.name))
		}
		if err := sleep(ctx, countPause); err != nil {
			return err
		}
	}
}

// progress counts this demo's executions that succeeded and those that ended. A resumed directory has older ones too;
// they lie behind, since ids only grow.
func (d *demo) progress(ctx context.Context) (succeeded, over int, err error) {
	rows, err := d.executions(ctx)
	for _, r := range rows {
		status, _ := r.Int("status")
		if status == 7 {
			succeeded++
		}
		if ended(status) {
			over++
		}
	}
	return succeeded, over, err
}

// executions are the newest rows, as many as this demo starts.
func (d *demo) executions(ctx context.Context) ([]client.Row, error) {
	rows, err := collect(ctx, d.client, "executions", client.Query{
		Equal: map[string]any{"folder_name": demoFolder}, Order: []string{"-execution_id"}, PageSize: min(d.count, 1000),
	}, d.count)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rows, func(r client.Row) bool {
		id, _ := r.Int("execution_id")
		return id <= d.after
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

// killLeader kills the process that leads, as a power cut would.
func (d *demo) killLeader(ctx context.Context, done int) error {
	leader, err := d.client.Leader(ctx)
	if err != nil {
		return nil // none just now: the next look finds one
	}
	c := d.child(leader.Name)
	if c == nil || !d.expect(c) {
		return nil
	}
	d.kill = killed{leader.Name, done, time.Now()}
	return c.cmd.Process.Kill()
}

// gaps finds the longest time in which the cluster took no write.
type gaps struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	writes  int
}

// watch writes over and over: enable_scaleout goes the whole way of a write and changes nothing.
func (g *gaps) watch(ctx context.Context, c *client.Client) {
	for {
		_, err := c.Call(ctx, "enable_scaleout", nil)
		if err == nil {
			g.took(time.Now())
		}
		if sleep(ctx, probePause) != nil {
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

// bar shows how many executions have ended.
type bar interface {
	at(n int)
	say(text string)
	end()
}

func newBar(out io.Writer, total int) bar {
	w := show.Of(out)
	if !w.Screen().Terminal {
		return &plainBar{out: out, total: total}
	}
	p := mpb.New(mpb.WithOutput(w.Control()), mpb.WithWidth(60))
	b := p.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name("executions "), decor.CountersNoUnit("%d/%d")),
		mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO)))
	return &liveBar{p, b}
}

type liveBar struct {
	p   *mpb.Progress
	bar *mpb.Bar
}

func (b *liveBar) at(n int)        { b.bar.SetCurrent(int64(n)) }
func (b *liveBar) say(text string) { _, _ = b.p.Write([]byte(show.Text(text) + "\n")) }
func (b *liveBar) end() {
	b.bar.Abort(false) // does nothing to a bar that is full
	b.p.Wait()
}

// plainBar writes a line for each tenth.
type plainBar struct {
	out   io.Writer
	total int
	tenth int
}

func (b *plainBar) at(n int) {
	if tenth := n * 10 / b.total; tenth > b.tenth {
		b.tenth = tenth
		fmt.Fprintf(b.out, "%s %d of %d executions have ended\n", time.Now().Format(time.TimeOnly), n, b.total)
	}
}
func (b *plainBar) say(text string) { fmt.Fprintln(b.out, time.Now().Format(time.TimeOnly), text) }
func (b *plainBar) end()            {}
