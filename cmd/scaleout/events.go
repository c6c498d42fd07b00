package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/fsm/registry"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

func (a *app) eventsCommand() *cobra.Command {
	var from client.EventsFrom
	var types []string
	cmd := &cobra.Command{
		Use: "events", Short: "Show what happened in the cluster, and go on with --follow", Args: cobra.NoArgs,
		Long: `Show what happened in the cluster: executions, workers, projects, masters. The newest 65,536 events are kept.

Each event has an id that is the same on every master. With --after it goes on behind one; 'reset' says that some in
between are not kept any more. With -o json each event is one line.`,
		Example: `  scaleout events --follow
  scaleout events --type attempt_lost,report_fenced,leader_elected
  scaleout events --follow --after 1042.0 -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, t := range types {
				if !slices.ContainsFunc(catalog.EventTypes(), func(k catalog.EventType) bool { return k.Name == t }) {
					return usagef("--type %q: there is no such event%s", t, registry.Hint(t, eventTypeNames()))
				}
			}
			if _, err := catalog.ParseEventID(from.After); err != nil && from.After != "" {
				return usagef("--after %q: want the id of an event, such as 1042.0, or 0 for the oldest", from.After)
			}
			if from.After == "" && !from.Follow {
				from.After = "0"
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if from.Follow {
				// Following outlasts a long outage, but fails at once if no master answers at the beginning.
				if _, err := c.Peers(cmd.Context()); errors.Is(err, client.ErrUnreachable) {
					return err
				}
				c = c.WithTimeout(max(outage, a.connectTimeout))
			}
			names := newWorkerLabels(c)
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetEscapeHTML(false)
			err = c.Events(cmd.Context(), from, func(e wire.Event) error {
				if len(types) > 0 && e.Type != wire.EventReset && !slices.Contains(types, e.Type) {
					return nil
				}
				worker := names.name(cmd.Context(), e.Worker)
				if a.output == "json" {
					return out.Encode(namedEvent{e, worker})
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), show.Text(a.eventLine(e, cmp.Or(worker, e.Worker))))
				return err
			})
			if from.Follow && cmd.Context().Err() != nil {
				return nil // Ctrl-C is how it ends
			}
			return friendly(err)
		},
	}
	cmd.Flags().BoolVarP(&from.Follow, "follow", "f", false,
		"go on with what happens next; without --after, begin with it")
	cmd.Flags().StringVar(&from.After, "after", "", "begin behind the event with this id; 0: with the oldest")
	cmd.Flags().StringSliceVar(&types, "type", nil, "only events of these types")
	return cmd
}

func eventTypeNames() (names []string) {
	for _, t := range catalog.EventTypes() {
		names = append(names, t.Name)
	}
	return names
}

// namedEvent is an event as JSON: what the wire has, and the worker's name beside its id.
type namedEvent struct {
	wire.Event
	WorkerName string `json:"worker_name,omitempty"`
}

// eventLine is an event as a person reads it.
func (a *app) eventLine(e wire.Event, worker string) string {
	at := strings.Repeat(" ", len("2006-01-02 15:04:05.000"))
	if !e.Time.IsZero() {
		at = a.stamp(e.Time)
	}
	var about []string
	add := func(format string, args ...any) { about = append(about, fmt.Sprintf(format, args...)) }
	if e.Execution > 0 {
		add("execution %d", e.Execution)
	}
	if e.Attempt > 0 {
		add("attempt %d", e.Attempt)
	}
	if e.Name != "" {
		add("%s", e.Name)
	}
	if e.Type == catalog.EventExecutionEnded {
		add("%s", catalog.Status(e.Status))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"term", e.Term}, {"level", e.Level}, {"version", e.Version}, {"after ms", e.Ms}, {"exit code", e.ExitCode}} {
		if n.value != 0 {
			add("%s %d", n.name, n.value)
		}
	}
	if e.Worker != "" && e.Execution > 0 {
		add("worker %s", worker)
	}
	if e.Detail != "" {
		add("(%s)", e.Detail)
	}
	return fmt.Sprintf("%s  %-10s %-19s %s", at, e.ID, e.Type, strings.Join(about, " "))
}
