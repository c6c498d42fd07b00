package main

import (
	"fmt"

	"github.com/spf13/cobra"
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
		change("disable", "Give a worker nothing new; what runs finishes", "disable_worker_agent",
			"disabled %s: it takes nothing new, what it runs finishes"),
		change("remove", "Forget a worker that holds no task", "delete_worker_agent", "removed %s"),
	)
	return cmd
}
