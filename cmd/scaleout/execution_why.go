package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scaleout/httpapi/client"
)

func (a *app) executionWhy() *cobra.Command {
	return &cobra.Command{
		Use: "why ID", Short: "Say why an execution waits, or why it ended as it did", Args: cobra.ExactArgs(1),
		Example:           "  scaleout execution why 17",
		ValidArgsFunction: a.complete(executionIDs()),
		RunE: a.onExecution(func(cmd *cobra.Command, c *client.Client, id int64) error {
			f, err := inquire(cmd.Context(), c, id)
			if err != nil {
				return friendly(err)
			}
			if a.output == "json" {
				return printJSON(cmd, map[string]any{
					"execution": f.execution, "attempts": f.attempts, "errors": append([]client.Row{}, f.errors...), "explanation": f.sentences(),
				})
			}
			for _, s := range f.sentences() {
				sayf(cmd.OutOrStdout(), "%s", s)
			}
			return nil
		}),
	}
}

// inquiry is what there is to know about an execution's fate.
type inquiry struct {
	execution client.Row
	attempts  []client.Row // rows of tasks, by attempt
	errors    []client.Row // the last error messages, in order
	workers   map[string]string
}

func inquire(ctx context.Context, c *client.Client, id int64) (*inquiry, error) {
	row, err := execution(ctx, c, id)
	if err != nil {
		return nil, err
	}
	f := &inquiry{execution: row}
	if f.attempts, err = collect(ctx, c, "tasks", client.Query{Equal: map[string]any{"execution_id": id}, PageSize: 1000}, 1000); err != nil {
		return nil, err
	}
	f.workers = workersByID(ctx, c)
	if status, _ := row.Int("status"); status != 7 {
		f.errors = lastErrors(ctx, c, id, 8)
	}
	return f, nil
}

// lastErrors are the last error messages of an operation, in order; none when they cannot be read.
func lastErrors(ctx context.Context, c *client.Client, id int64, most int) []client.Row {
	page, err := c.View(ctx, "operation_messages", client.Query{
		Equal: map[string]any{"operation_id": id, "message_type": 120}, Order: []string{"-operation_message_id"}, PageSize: most,
	})
	if err != nil {
		return nil
	}
	slices.Reverse(page.Rows)
	return page.Rows
}

// cures is what a person can do about a pending execution.
var cures = map[string]string{
	"no_worker_enabled":        "'scaleout worker list' shows the workers, 'scaleout worker enable NAME' lets one take tasks.",
	"no_worker_online":         "'scaleout worker list' shows when each was last heard from; start one with 'scaleout worker start'.",
	"no_worker_can_run":        "Install the program on a worker's machine or name it in the worker's setting Runners, and restart the worker.",
	"workers_busy":             "It starts when a running one ends; more workers or a higher MaxTaskCount make room.",
	"selected_workers_offline": "Only the selected workers may run it: bring one back, or stop it and run it with others.",
	"selected_workers_busy":    "Only the selected workers may run it: it starts when one of their tasks ends.",
	"handed_back":              "A worker could not start it: what it said, and its log, tell what to mend. The next attempt starts by itself.",
	"retry_wait":               "Nothing to do: the next attempt starts by itself.",
}

func (f *inquiry) sentences() []string {
	e := f.execution
	status, _ := e.Int("status")
	id := cell(e["execution_id"])
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	say("Execution %s of %s, created by %s at %s, %s.", id, packagePath(e), e.Text("caller_name"), cell(e["created_time"]), fate(status))
	pending := 0
	for _, t := range f.attempts {
		if t.Text("status") == "pending" {
			pending++
			continue
		}
		out = append(out, f.attempt(t))
	}
	switch status {
	case 1:
		say("It was not started: 'scaleout execution start %s' starts it.", id)
	case 5:
		for _, t := range f.attempts {
			if t.Text("status") != "pending" {
				continue
			}
			reason := t.Text("reason")
			if reason == "" {
				say("Attempt %s waits; the leader has not said why yet. Ask again in a moment.", cell(t["attempt"]))
				continue
			}
			say("Attempt %s waits: %s (%s).", cell(t["attempt"]), t.Text("reason_text"), reason)
			if cure := cures[reason]; cure != "" {
				out = append(out, cure)
			}
		}
	case 3, 8:
		if by := e.Text("stopped_by_name"); by != "" {
			say("%s stopped it.", by)
		}
	case 6:
		say("No attempt is left, and nobody knows how the last one ended: check what the package did before you run it again.")
	case 4:
		if !slices.ContainsFunc(f.attempts, neverTaken) {
			say("No attempt is left.")
		}
	}
	if ended(status) && len(f.attempts)-pending == 0 && status != 3 {
		say("Its attempts are not kept any more; the executions view says: machine %s, attempts %s.", orNone(e.Text("machine_name")), cell(e["executed_count"]))
	}
	if len(f.errors) > 0 {
		out = append(out, "Last errors:")
		for _, m := range f.errors {
			out = append(out, "  "+cell(m["message_time"])+"  "+m.Text("message"))
		}
	}
	return out
}

// neverTaken reports whether no worker took the attempt in time.
func neverTaken(t client.Row) bool { return t.Text("reason") == "queue_timeout" }

// attempt is one attempt as a sentence.
func (f *inquiry) attempt(t client.Row) string {
	if neverTaken(t) {
		return t.Text("message")
	}
	where := t.Text("machine")
	if name := f.workers[t.Text("worker_agent_id")]; name != "" {
		where = name
	} else if where == "" {
		where = t.Text("worker_agent_id")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Attempt %s ", cell(t["attempt"]))
	granted, ended := cell(t["granted"]), cell(t["ended"])
	switch t.Text("status") {
	case "running", "stopping":
		fmt.Fprintf(&b, "runs on %s since %s", where, granted)
		if t.Text("status") == "stopping" {
			b.WriteString(" and was told to stop")
		}
		if text := t.Text("reason_text"); text != "" {
			b.WriteString("; " + text)
		} else if until := cell(t["lease_until"]); until != "" {
			b.WriteString("; its lease runs until " + until + " unless it is renewed")
		}
	case "lost":
		fmt.Fprintf(&b, "was lost on %s: granted at %s, given up at %s", where, granted, ended)
	case "returned":
		fmt.Fprintf(&b, "was handed back by %s at %s and does not count", where, ended)
	default:
		fmt.Fprintf(&b, "%s on %s at %s, granted at %s", attemptVerb(t.Text("status")), where, ended, granted)
		if code, ok := t.Int("exit_code"); ok {
			fmt.Fprintf(&b, ", exit code %d", code)
		}
	}
	if m := t.Text("message"); m != "" && m != "exit code "+cell(t["exit_code"]) {
		b.WriteString(": " + m)
	}
	return strings.TrimSuffix(b.String(), ".") + "."
}

func attemptVerb(status string) string {
	if status == "canceled" {
		return "was ended"
	}
	return status
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// fate is a status as the end of a sentence.
func fate(status int64) string {
	switch status {
	case 4, 6, 7, 9:
		return "has " + statusName(status)
	case 3:
		return "was canceled"
	}
	return "is " + statusName(status)
}
