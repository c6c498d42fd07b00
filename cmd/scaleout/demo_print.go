package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"scaleout/cmd/dev/demo"
	"scaleout/cmd/scaleout/show"
)

// printDemo prints what came of a demo as a table.
func (a *app) printDemo(out io.Writer, r *demo.Result, took time.Duration) {
	ids := func(list []string) string {
		if len(list) == 0 {
			return "0"
		}
		return fmt.Sprintf("%d: %s", len(list), shorten(strings.Join(list, " "), 60))
	}
	once := r.Started - len(r.Never) - len(r.Twice)
	leader := "none"
	if r.Killed.Name != "" {
		leader = fmt.Sprintf("%s, when %d had succeeded", r.Killed.Name, r.Killed.Succeeded)
	}
	verdict := "yes"
	if !r.Good() {
		verdict = "NO"
	}
	body := [][]any{
		{"executions started", r.Started}, {"succeeded", r.Succeeded}, {"failed", r.Failed}, {"attempts", r.Attempts},
		{"leader killed", leader},
		{"longest time without a leader", fmt.Sprintf("%v (of %d writes, one after the other)", rounded(r.Gap), r.Writes)},
		{"ran exactly once", once}, {"never ran", ids(r.Never)}, {"ran twice or more", ids(r.Twice)},
		{"took", rounded(took)}, {"nothing lost, nothing doubled", verdict},
	}
	if len(r.Unknown) > 0 {
		body = append(body, []any{"ran without being started", ids(r.Unknown)})
	}
	fmt.Fprintln(out)
	to := &cobra.Command{}
	to.SetOut(out)
	a.table(to, heads("What", "Result"), body)
}

// bar shows how many executions have ended.
type bar interface {
	demo.Progress
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
	return &liveBar{p, b, total}
}

func killedText(k demo.Killed, total int) string {
	return fmt.Sprintf("%d of %d done: the leader, %s, is killed with SIGKILL", k.Succeeded, total, k.Name)
}

type liveBar struct {
	p     *mpb.Progress
	bar   *mpb.Bar
	total int
}

func (b *liveBar) Ended(n int) { b.bar.SetCurrent(int64(n)) }
func (b *liveBar) Killed(k demo.Killed) {
	_, _ = b.p.Write([]byte(show.Text(killedText(k, b.total)) + "\n"))
}
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

func (b *plainBar) Ended(n int) {
	if tenth := n * 10 / b.total; tenth > b.tenth {
		b.tenth = tenth
		fmt.Fprintf(b.out, "%s %d of %d executions have ended\n", time.Now().Format(time.TimeOnly), n, b.total)
	}
}
func (b *plainBar) Killed(k demo.Killed) {
	fmt.Fprintln(b.out, time.Now().Format(time.TimeOnly), killedText(k, b.total))
}
func (b *plainBar) end() {}
