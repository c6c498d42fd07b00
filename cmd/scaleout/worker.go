package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"scaleout/httpapi/client"
)

func (a *app) workerCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "worker", Short: "Workers: run one, list, enable, disable, remove"}
	change := func(use, short, procedure, did string) *cobra.Command {
		return &cobra.Command{
			Use: use + " NAME|ID", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.complete(workerNames),
			Example: fmt.Sprintf("  scaleout worker %s worker-1", use),
			RunE: func(cmd *cobra.Command, args []string) error {
				c, err := a.client()
				if err != nil {
					return err
				}
				id, err := workerID(cmd.Context(), c, args[0])
				if err != nil {
					return friendly(err)
				}
				return a.change(cmd, procedure, map[string]any{"WorkerAgentId": id}, []pair{{"WorkerAgentId", id}}, did, args[0])
			},
		}
	}
	cmd.AddCommand(a.workerStart(),
		&cobra.Command{
			Use: "list", Short: "List workers", Args: cobra.NoArgs,
			Example: "  scaleout worker list\n  scaleout worker list -o json",
			RunE:    func(cmd *cobra.Command, _ []string) error { return a.workerList(cmd) },
		},
		a.workerShow(),
		change("enable", "Let a worker take tasks", "enable_worker_agent", "enabled %s: it takes tasks"),
		change("disable", "Give a worker nothing new; what runs finishes", "disable_worker_agent", "disabled %s: it takes nothing new, what it runs finishes"),
		change("remove", "Forget a worker that holds no task", "delete_worker_agent", "removed %s"),
	)
	return cmd
}

func workerNames(ctx context.Context, c *client.Client) ([]string, error) {
	return names(ctx, c, "worker_agents", "DisplayName")
}

// workerID finds a worker by id, display name or machine name.
func workerID(ctx context.Context, c *client.Client, nameOrID string) (string, error) {
	rows, err := collect(ctx, c, "worker_agents", client.Query{}, 10_000)
	if err != nil {
		return "", err
	}
	var found []string
	for _, r := range rows {
		id := r.Text("WorkerAgentId")
		if strings.EqualFold(id, strings.Trim(nameOrID, "{}")) {
			return id, nil
		}
		if strings.EqualFold(r.Text("DisplayName"), nameOrID) || strings.EqualFold(r.Text("MachineName"), nameOrID) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("there is no worker %q; 'scaleout worker list' shows all", nameOrID)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%d workers are called %q: %s; use the id", len(found), nameOrID, strings.Join(found, ", "))
}
