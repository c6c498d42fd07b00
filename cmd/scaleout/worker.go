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

const columnCertificate = "CertificateName"

// workerID finds a worker by its AgentId or by the name in its certificate, for which the cluster's authority vouches.
// The names that a worker gives itself decide nothing: any worker may call itself what another one is called.
func workerID(ctx context.Context, c *client.Client, nameOrID string) (string, error) {
	rows, err := collect(ctx, c, "worker_agents", client.Query{}, 100_000)
	if err != nil {
		return "", err
	}
	return chooseWorker(rows, nameOrID)
}

func chooseWorker(rows []client.Row, nameOrID string) (string, error) {
	var certified, called []client.Row
	for _, r := range rows {
		switch {
		case strings.EqualFold(r.Text("WorkerAgentId"), strings.Trim(nameOrID, "{}")):
			return r.Text("WorkerAgentId"), nil
		case strings.EqualFold(r.Text(columnCertificate), nameOrID):
			certified = append(certified, r)
		case strings.EqualFold(r.Text("DisplayName"), nameOrID), strings.EqualFold(r.Text("MachineName"), nameOrID):
			called = append(called, r)
		}
	}
	switch {
	case len(certified) == 1:
		return certified[0].Text("WorkerAgentId"), nil
	case len(certified) > 1:
		return "", fmt.Errorf("%d workers use the certificate %q: %s; give the AgentId of one", len(certified), nameOrID, candidates(certified))
	case len(called) > 0:
		return "", fmt.Errorf("no certificate has the name %q; a worker gives itself the name that it shows, so this may be meant: %s; "+
			"give the certificate's name or the AgentId", nameOrID, candidates(called))
	}
	var names []string
	for _, r := range rows {
		names = append(names, r.Text(columnCertificate))
	}
	if hint := meant(nameOrID, names); hint != "" {
		return "", fmt.Errorf("there is no worker with the certificate name %q%s", nameOrID, hint)
	}
	return "", fmt.Errorf("there is no worker with the certificate name or AgentId %q; 'scaleout worker list' shows all", nameOrID)
}

// candidates names workers so that one can be chosen.
func candidates(rows []client.Row) string {
	const most = 10
	var texts []string
	for i, r := range rows {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(rows)-most))
			break
		}
		texts = append(texts, fmt.Sprintf("%s (certificate %q, machine %q)", r.Text("WorkerAgentId"), r.Text(columnCertificate), r.Text("MachineName")))
	}
	return strings.Join(texts, ", ")
}
