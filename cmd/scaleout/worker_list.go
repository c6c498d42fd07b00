package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
)

func (a *app) workerList(cmd *cobra.Command) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	rows, err := collect(cmd.Context(), c, "worker_agents", client.Query{PageSize: 1000}, 10_000)
	if err != nil {
		return friendly(err)
	}
	if err := addRuns(cmd.Context(), c, rows); err != nil {
		return friendly(err)
	}
	return a.rows(cmd, rows, derived("Name", workerLabel), workerState("State").breakable(),
		derived("Slots", slots).drop(1),
		derived("Runs", runs).breakable().drop(2), value("Machine", "MachineName").drop(4),
		text("Extensions", "Extensions").drop(6),
		value("Version", "Version").drop(5), when("Heard", "LastOnlineTime").drop(3),
		value("Calls itself", "DisplayName").wide(), value("Account", "UserAccount").wide(), value("Worker id",
			"WorkerAgentId").wide())
}

// addRuns adds to rows of worker_agents what each worker runs: Running is a list of executions with their packages. It
// is part of what -o json promises.
func addRuns(ctx context.Context, c *client.Client, workers []client.Row) error {
	byID := map[string]client.Row{}
	for _, w := range workers {
		w["Running"] = []map[string]any{}
		byID[w.Text("WorkerAgentId")] = w
	}
	for _, status := range []catalog.Status{catalog.Running, catalog.Stopping} {
		rows, err := collect(ctx, c, "executions", client.Query{Equal: map[string]any{"status": status}, PageSize: 1000},
			10_000)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if w := byID[r.Text("worker_agent_id")]; w != nil {
				w["Running"] = append(w["Running"].([]map[string]any),
					map[string]any{"execution_id": r["execution_id"], "package": packagePath(r)})
			}
		}
	}
	return nil
}

// workerState is a column that says whether a worker may take tasks and whether masters hear from it.
func workerState(head string) column {
	return column{show.Column{Head: head}, func(p *printer, r client.Row) show.Cell {
		state := r.Text("State")
		t := map[string]show.Tone{"online": show.Good, "silent": show.Bad, "draining": show.Warn}[state]
		if state == "silent" {
			heard := moment(r, "LastOnlineTime")
			switch {
			case heard.IsZero():
			case p.clock == show.Relative:
				state = "silent for " + show.Span(p.now.Sub(heard))
			default:
				state = "silent since " + p.clock.Time(heard, p.now)
			}
		}
		if !r.Bool("IsEnabled") {
			if t = show.Faint; r.Text("State") == "online" {
				state = "disabled"
			} else {
				state = strings.TrimSuffix("disabled, "+state, ", ")
			}
		}
		return show.Cell{Text: state, Tone: t}
	}}
}

// slots is how many of its tasks a worker runs; "" when no leader has said so.
func slots(r client.Row) string {
	running, ok := r.Int("RunningTasks")
	if !ok {
		return cell(r["MaxTaskCount"])
	}
	return fmt.Sprintf("%d of %s", running, cell(r["MaxTaskCount"]))
}

// runs names at most three executions that a worker runs.
func runs(r client.Row) string {
	list, _ := r["Running"].([]map[string]any)
	var out []string
	for _, x := range list[:min(len(list), 3)] {
		out = append(out, fmt.Sprintf("%s %s", cell(x["execution_id"]), x["package"]))
	}
	if more := len(list) - 3; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

func (a *app) workerShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME|ID", Short: "Show a worker and what it runs", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.complete(workerNames),
		Example:           "  scaleout worker show worker-1",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			id, err := workerID(cmd.Context(), c, args[0])
			if err != nil {
				return friendly(err)
			}
			page, err := c.View(cmd.Context(), "worker_agents", client.Query{Equal: map[string]any{"WorkerAgentId": id}})
			if err != nil || len(page.Rows) == 0 {
				return friendly(err)
			}
			w := page.Rows[0]
			if err := addRuns(cmd.Context(), c, page.Rows); err != nil {
				return friendly(err)
			}
			if a.output == "json" {
				return printJSON(cmd, w)
			}
			p := &printer{clock: a.clock(cmd), now: time.Now()}
			pairs := []pair{{"name", workerLabel(w)}, {"state", workerState("").cell(p, w).Text}, {"slots", slots(w)},
				{"heard", moment(w, "LastOnlineTime")}}
			shown := []string{columnCertificate, "State", "MaxTaskCount", "RunningTasks", "Running", "LastOnlineTime",
				"IsEnabled"}
			for _, name := range columnNames(page.Columns) {
				if !slices.Contains(shown, name) && w[name] != nil {
					pairs = append(pairs, pair{spaced(name), w[name]})
				}
			}
			if err := a.object(cmd, pairs); err != nil {
				return err
			}
			tasks, err := collect(cmd.Context(), c, "tasks",
				client.Query{Equal: map[string]any{"worker_agent_id": id, "outcome": nil}}, 1000)
			if err != nil || len(tasks) == 0 {
				return friendly(err)
			}
			packages := map[string]any{}
			for _, x := range w["Running"].([]map[string]any) {
				packages[cell(x["execution_id"])] = x["package"]
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return a.rows(cmd, tasks, number("Execution", "execution_id"),
				derived("Package", func(r client.Row) string { return cell(packages[cell(r["execution_id"])]) }).breakable(),
				number("Attempt", "attempt").drop(1), when("Granted", "granted").drop(2), when("Lease until",
					"lease_until").drop(3))
		},
	}
}

// spaced makes words of a column's name: "MachineName" is "machine name".
func spaced(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}
