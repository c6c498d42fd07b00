package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/httpapi/client"
)

func (a *app) executionLogs() *cobra.Command {
	var follow, plain bool
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Print an execution's messages in order", Args: cobra.ExactArgs(1),
		Example:           "  scaleout execution logs 17 --follow\n  scaleout execution logs 17 --plain | grep rows",
		ValidArgsFunction: a.complete(executionIDs),
		RunE: a.onExecution(func(cmd *cobra.Command, c *client.Client, id int64) error {
			if _, err := execution(cmd.Context(), c, id); err != nil {
				return friendly(err)
			}
			r := &logReader{c: c, id: id}
			show := func(m client.Row) error {
				if source, _ := m.Int("message_source_type"); plain && source != sourcePackage {
					return nil
				}
				switch {
				case a.output == "json":
					return printJSON(cmd, m)
				case plain:
					_, err := fmt.Fprintln(cmd.OutOrStdout(), m.Text("message"))
					return err
				}
				return a.printMessage(cmd, m)
			}
			if !follow {
				_, err := r.read(cmd.Context(), show)
				return friendly(err)
			}
			return friendly(r.follow(cmd.Context(), show))
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the execution has ended")
	cmd.Flags().BoolVar(&plain, "plain", false, "the package's own lines alone, as it wrote them")
	return cmd
}

func (a *app) printMessage(cmd *cobra.Command, m client.Row) error {
	at := m.Text("message_time")
	if t, ok := m.Time("message_time"); ok {
		at = a.stamp(t)
	}
	kind, _ := m.Int("message_type")
	start := fmt.Sprintf("%s %-7s ", at, messageKind(kind))
	_, err := fmt.Fprintln(cmd.OutOrStdout(), start+show.Indented(m.Text("message"), len(start)))
	return err
}

// messageKind is a message type in one word.
func messageKind(n int64) string {
	switch n {
	case 120:
		return "error"
	case 110:
		return "warning"
	case 70:
		return "info"
	case 50:
		return "status"
	case 130:
		return "failed"
	}
	return fmt.Sprint(n)
}

// logReader reads messages in order, each once. Messages are only ever added behind the last one.
type logReader struct {
	c     *client.Client
	id    int64
	token string // of the page that last lies on
	last  int64  // operation_message_id that was shown
}

// read shows what is new and tells whether there was anything.
func (r *logReader) read(ctx context.Context, show func(client.Row) error) (bool, error) {
	some := false
	for {
		page, err := r.c.View(ctx, "operation_messages", client.Query{
			Equal: map[string]any{"operation_id": r.id}, PageSize: 500, PageToken: r.token,
		})
		if err != nil {
			return some, err
		}
		for _, m := range page.Rows {
			n, _ := m.Int("operation_message_id")
			if n <= r.last {
				continue // the last page is read again each time: it is the one that grows
			}
			r.last, some = n, true
			if err := show(m); err != nil {
				return some, err
			}
		}
		if page.Next == "" {
			return some, nil
		}
		r.token = page.Next
	}
}

// follow reads until the execution has ended and nothing more came for a moment: a worker sends its last messages
// beside its report.
func (r *logReader) follow(ctx context.Context, show func(client.Row) error) error {
	const calm = 5
	quiet, pause := 0, firstPoll
	for {
		// Asked before reading: what was written before the end is then read after it.
		row, err := execution(ctx, r.c, r.id)
		if err != nil {
			return err
		}
		some, err := r.read(ctx, show)
		if err != nil {
			return err
		}
		status, _ := row.Int("status")
		switch {
		case some:
			quiet, pause = 0, firstPoll
		case ended(status):
			if quiet++; quiet == calm {
				return nil
			}
			pause = 200 * time.Millisecond
		default:
			pause = min(pause*3/2, lastPoll)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil // interrupted by the reader
		}
	}
}
