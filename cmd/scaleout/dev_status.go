package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"scaleout/fsm/catalog"
)

// devProcess is one process of a running dev cluster.
type devProcess struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	State   string `json:"state"`             // running or ended
	Address string `json:"address,omitempty"` // of a master
	Log     string `json:"log"`
}

// status lists the children as JSON, for control.
func (s *stage) status(context.Context, string) (string, error) {
	list := []devProcess{}
	for i, name := range s.names() {
		p := devProcess{Name: name, PID: s.pid(name), State: "ended", Log: filepath.Join(s.logs(), name+".log")}
		if i < s.Masters {
			p.Address = s.address(i)
		}
		if c := s.child(name); c != nil && c.alive() {
			p.State = "running"
		}
		list = append(list, p)
	}
	raw, err := json.Marshal(list)
	return string(raw), err
}

// devProcesses asks the dev that runs on a data directory.
func devProcesses(ctx context.Context, data string) ([]devProcess, error) {
	dir, err := filepath.Abs(data)
	if err != nil {
		return nil, err
	}
	text, err := askControl(ctx, layout{dir: dir}.control(), controlRequest{Verb: "status"})
	if err != nil {
		return nil, err
	}
	var list []devProcess
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("dev's answer: %w", err)
	}
	return list, nil
}

func (a *app) devStatus() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "status", Short: "List the processes of a running dev with their pids", Args: cobra.NoArgs,
		Example: "  scaleout dev status\n  scaleout dev status --data /tmp/five -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := devProcesses(cmd.Context(), data)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return printJSON(cmd, list)
			}
			var body [][]any
			for _, p := range list {
				body = append(body, []any{p.Name, p.PID, p.State, p.Address})
			}
			a.table(cmd, heads("Name", "Pid", "State", "Address"), body)
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "./scaleout-dev", "data directory of the running dev")
	return cmd
}

func (a *app) devPID() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "pid NAME", Short: "Print the pid of a master or worker of a running dev", Args: cobra.ExactArgs(1),
		Example: "  kill -9 \"$(scaleout dev pid master-2)\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := devProcesses(cmd.Context(), data)
			if err != nil {
				return err
			}
			var names []string
			for _, p := range list {
				names = append(names, p.Name)
				switch {
				case p.Name != args[0]:
				case p.State != "running":
					return fmt.Errorf("%s (pid %d) has ended; 'scaleout dev restart %s' starts it again", p.Name, p.PID, p.Name)
				case a.output == "json":
					return printJSON(cmd, p)
				default:
					fmt.Fprintln(cmd.OutOrStdout(), p.PID)
					return nil
				}
			}
			return fmt.Errorf("there is no %q here%s", args[0], catalog.Hint(args[0], names))
		},
	}
	cmd.Flags().StringVar(&data, "data", "./scaleout-dev", "data directory of the running dev")
	return cmd
}
