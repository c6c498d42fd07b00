package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
)

const columnCertificate = "CertificateName"

// workerLabel is what people call a worker: by its certificate, else by what it calls itself.
func workerLabel(r client.Row) string {
	for _, name := range []string{columnCertificate, "DisplayName", "MachineName", "WorkerAgentId"} {
		if text := r.Text(name); text != "" {
			return text
		}
	}
	return ""
}

// workerLabels finds the names of workers by their ids. Without the right to read workers it finds none. It belongs to
// one goroutine.
type workerLabels struct {
	c      *client.Client
	known  map[string]string // by id; "" for a worker that is not there
	listed bool              // the first page of workers is known
}

func newWorkerLabels(c *client.Client) *workerLabels {
	return &workerLabels{c: c, known: map[string]string{}}
}

// name returns a worker's label, "" if it is not known. The first call reads up to 1,000 workers at once; a later call
// reads a worker that was not among them, once.
func (n *workerLabels) name(ctx context.Context, id string) string {
	if id == "" {
		return ""
	}
	queries := []client.Query{{PageSize: 1000}, {Equal: map[string]any{"WorkerAgentId": id}}}
	if n.listed {
		queries = queries[1:]
	}
	for _, q := range queries {
		if _, known := n.known[id]; known {
			break
		}
		page, err := n.c.View(ctx, "worker_agents", q)
		if client.Code(err) != "" {
			break // refused, and it will be again
		}
		if err != nil {
			return ""
		}
		for _, r := range page.Rows {
			n.known[r.Text("WorkerAgentId")] = workerLabel(r)
		}
		n.listed = true
	}
	if _, known := n.known[id]; !known {
		n.known[id] = ""
	}
	return n.known[id]
}

// describe adds to a row of executions or tasks the words for its numbers and ids: status_name and worker_name. They
// are part of what -o json promises.
func (n *workerLabels) describe(ctx context.Context, r client.Row) {
	if _, ok := r.Int("status"); ok {
		r["status_name"] = rowStatus(r).String()
	}
	r["worker_name"] = nil
	if name := n.name(ctx, r.Text("worker_agent_id")); name != "" {
		r["worker_name"] = name
	}
}

// where is the worker of a described row, by name, else its machine.
func where(r client.Row) string {
	for _, name := range []string{"worker_name", "machine_name", "machine"} {
		if text := r.Text(name); text != "" {
			return text
		}
	}
	return ""
}

// workerID finds a worker by its AgentId or by the name in its certificate, for which the cluster's authority vouches.
// The names that a worker gives itself decide nothing: any worker may call itself what another one is called.
func workerID(ctx context.Context, c *client.Client, nameOrID string) (string, error) {
	columns := []string{columnCertificate}
	if _, err := uuid.Parse(nameOrID); err == nil {
		columns = []string{"WorkerAgentId", columnCertificate}
	}
	// What a worker calls itself is only asked for when nothing else is found.
	for _, columns := range [][]string{columns, {"DisplayName", "MachineName"}} {
		var found []client.Row
		for _, column := range columns {
			q := client.Query{Equal: map[string]any{column: strings.Trim(nameOrID, "{}")}}
			if column != "WorkerAgentId" {
				q.Equal[column] = nameOrID
			}
			rows, err := collect(ctx, c, "worker_agents", q, 1000)
			if err != nil {
				return "", err
			}
			found = append(found, rows...)
		}
		if len(found) > 0 {
			return chooseWorker(found, nameOrID)
		}
	}
	const few = 1000 // with more workers, near names are not looked for
	rows, err := collect(ctx, c, "worker_agents", client.Query{PageSize: few}, few)
	if err != nil {
		return "", err
	}
	return chooseWorker(rows, nameOrID)
}

func chooseWorker(rows []client.Row, nameOrID string) (string, error) {
	var certified, called []client.Row
	for _, r := range rows {
		switch {
		case sqltype.EqualText(r.Text("WorkerAgentId"), strings.Trim(nameOrID, "{}")):
			return r.Text("WorkerAgentId"), nil
		case sqltype.EqualText(r.Text(columnCertificate), nameOrID):
			certified = append(certified, r)
		case sqltype.EqualText(r.Text("DisplayName"), nameOrID), sqltype.EqualText(r.Text("MachineName"), nameOrID):
			called = append(called, r)
		}
	}
	switch {
	case len(certified) == 1:
		return certified[0].Text("WorkerAgentId"), nil
	case len(certified) > 1:
		return "", fmt.Errorf("%d workers use the certificate %q: %s; give the AgentId of one", len(certified), nameOrID,
			candidates(certified))
	case len(called) > 0:
		return "", fmt.Errorf("no certificate has the name %q; a worker gives itself the name that it shows, so this may "+
			"be meant: %s; "+
			"give the certificate's name or the AgentId", nameOrID, candidates(called))
	}
	var names []string
	for _, r := range rows {
		names = append(names, r.Text(columnCertificate))
	}
	if hint := registry.Meant(nameOrID, names); hint != "" {
		return "", fmt.Errorf("there is no worker with the certificate name %q%s", nameOrID, hint)
	}
	return "", fmt.Errorf("there is no worker with the certificate name or AgentId %q; 'scaleout worker list' shows all",
		nameOrID)
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
		texts = append(texts, fmt.Sprintf("%s (certificate %q, machine %q)", r.Text("WorkerAgentId"),
			r.Text(columnCertificate), r.Text("MachineName")))
	}
	return strings.Join(texts, ", ")
}
