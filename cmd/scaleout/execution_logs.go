package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
)

func (a *app) executionLogs() *cobra.Command {
	var follow, plain bool
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Print an execution's messages in order", Args: cobra.ExactArgs(1),
		Long: `Print an execution's messages in order.

Workers hand messages over beside their reports: of an execution that has just ended, the last ones are waited for. When
they do not come, because their worker reaches no master, a line on stderr says how many are missing and the exit code
is 5.`,
		Example:           "  scaleout execution logs 17 --follow\n  scaleout execution logs 17 --plain | grep rows",
		ValidArgsFunction: a.complete(executionIDs()),
		RunE: a.onExecution(func(cmd *cobra.Command, c *client.Client, id int64) error {
			if _, err := execution(cmd.Context(), c, id); err != nil {
				return friendly(err)
			}
			if follow {
				c = c.WithTimeout(max(outage, a.connectTimeout))
			}
			r := &logReader{c: c, id: id, follow: follow}
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
			if err := r.all(cmd.Context(), show); err != nil {
				return friendly(err)
			}
			return r.incomplete(cmd)
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

// What workers write beside the types and sources of messages that masters write (package catalog).
const (
	messageTaskFailed = 130
	sourcePackage     = 30 // the package's output
)

// messageKind is a message type in one word.
func messageKind(n int64) string {
	switch n {
	case catalog.MessageError:
		return "error"
	case catalog.MessageWarning:
		return "warning"
	case catalog.MessageInformation:
		return "info"
	case catalog.MessageStatusChange:
		return "status"
	case messageTaskFailed:
		return "failed"
	}
	return fmt.Sprint(n)
}
