package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
)

func (a *app) executionWhy() *cobra.Command {
	return &cobra.Command{
		Use: "why ID", Short: "Say why an execution waits, or why it ended as it did", Args: cobra.ExactArgs(1),
		Example:           "  scaleout execution why 17",
		ValidArgsFunction: a.complete(executionIDs()),
		RunE: a.onExecution(func(cmd *cobra.Command, c *client.Client, id int64) error {
			x, err := explain(cmd.Context(), c, id)
			if err != nil {
				return friendly(err)
			}
			if a.output == "json" {
				return printJSON(cmd, map[string]any{
					"execution": x.execution, "attempts": x.attempts, "errors": append([]client.Row{}, x.errors...),
					"explanation": x.sentences(),
				})
			}
			for _, s := range x.sentences() {
				sayf(cmd.OutOrStdout(), "%s", s)
			}
			return nil
		}),
	}
}

// explanation is what the catalog knows about the state or the end of an execution.
type explanation struct {
	execution client.Row
	attempts  []client.Row      // rows of tasks, by attempt
	errors    []client.Row      // the last error messages, in order
	workers   map[string]string // names by id
}

func explain(ctx context.Context, c *client.Client, id int64) (*explanation, error) {
	row, err := execution(ctx, c, id)
	if err != nil {
		return nil, err
	}
	x := &explanation{execution: row, workers: map[string]string{}}
	if x.attempts, err = collect(ctx, c, "tasks", client.Query{Equal: map[string]any{"execution_id": id}, PageSize: 1000},
		1000); err != nil {
		return nil, err
	}
	names := newWorkerLabels(c)
	for _, t := range x.attempts {
		if name := names.name(ctx, t.Text("worker_agent_id")); name != "" {
			x.workers[t.Text("worker_agent_id")] = name
		}
	}
	if rowStatus(row) != catalog.Succeeded {
		x.errors = lastErrors(ctx, c, id, 8)
	}
	return x, nil
}

// cures is what a person can do about a pending execution.
var cures = map[string]string{
	"no_worker_enabled": "'scaleout worker list' shows the workers, 'scaleout worker enable NAME' lets one take " +
		"tasks.",
	"no_worker_online": "'scaleout worker list' shows when each was last heard from; start one with 'scaleout " +
		"worker start'.",
	"no_worker_can_run": "Install the program on a worker's machine, which the worker sees within a minute, or name " +
		"it in the worker's setting Runners and restart the worker.",
	"workers_busy":             "It starts when a running one ends; more workers or a higher MaxTaskCount make room.",
	"selected_workers_offline": "Only the selected workers may run it: bring one back, or stop it and run it with others.",
	"selected_workers_busy":    "Only the selected workers may run it: it starts when one of their tasks ends.",
	"handed_back": "A worker could not start it: what it said, and its log, tell what to mend. The next " +
		"attempt starts by itself.",
	"retry_wait": "Nothing to do: the next attempt starts by itself.",
}

func (x *explanation) sentences() []string {
	e := x.execution
	status := rowStatus(e)
	id := cell(e["execution_id"])
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	say("Execution %s of %s, created by %s at %s, %s.", id, packagePath(e), e.Text("caller_name"), cell(e["created_time"]),
		outcome(status))
	pending := 0
	for _, t := range x.attempts {
		if t.Text("status") == "pending" {
			pending++
			continue
		}
		out = append(out, x.attempt(t))
	}
	switch status {
	case catalog.Created:
		say("It was not started: 'scaleout execution start %s' starts it.", id)
	case catalog.Pending:
		for _, t := range x.attempts {
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
	case catalog.Canceled, catalog.Stopping:
		if by := e.Text("stopped_by_name"); by != "" {
			say("%s stopped it.", by)
		}
	case catalog.EndedUnexpectedly:
		say("No attempt is left, and nobody knows how the last one ended: check what the package did before you run it " +
			"again.")
	case catalog.Failed:
		if !slices.ContainsFunc(x.attempts, neverTaken) {
			say("No attempt is left.")
		}
	}
	if status.HasEnded() && len(x.attempts)-pending == 0 && status != catalog.Canceled {
		say("Its attempts are not kept any more; the executions view says: machine %s, attempts %s.",
			orNone(e.Text("machine_name")), cell(e["executed_count"]))
	}
	if len(x.errors) > 0 {
		out = append(out, "Last errors:")
		for _, m := range x.errors {
			out = append(out, "  "+cell(m["message_time"])+"  "+m.Text("message"))
		}
	}
	return out
}

// neverTaken reports whether no worker took the attempt in time.
func neverTaken(t client.Row) bool { return t.Text("reason") == "queue_timeout" }

// attempt is one attempt as a sentence.
func (x *explanation) attempt(t client.Row) string {
	if neverTaken(t) {
		return t.Text("message")
	}
	where := t.Text("machine")
	if name := x.workers[t.Text("worker_agent_id")]; name != "" {
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

// outcome is a status as the end of a sentence.
func outcome(status catalog.Status) string {
	switch status {
	case catalog.Failed, catalog.EndedUnexpectedly, catalog.Succeeded, catalog.Completed:
		return "has " + status.String()
	case catalog.Canceled:
		return "was canceled"
	}
	return "is " + status.String()
}
