package view

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func clusterViews() []*View {
	return []*View{
		{
			Name: "master_properties", Permission: catalog.AnyUser, Key: []string{"property_name"},
			Doc: "The properties of the master that leads; master_nodes has a row for every master.",
			Columns: []registry.Column{
				{Name: "property_name", Type: sqltype.NVarChar(256), Doc: "name of the property"},
				{Name: "property_value", Type: sqltype.NVarCharMax, Nullable: true, Doc: "its value"},
			},
			Rows: rowsOf(masterProperties, func(_ *Query, p setting) registry.Row { return registry.Row{p.name, p.value} }),
		},
		{
			Name: "master_nodes", Permission: catalog.AnyUser, Key: []string{"node_id"},
			Doc: "One row for every master of the cluster.",
			Columns: []registry.Column{
				{Name: "node_id", Type: sqltype.NVarChar(64), Doc: "the node's id, made once in its data directory"},
				{Name: "name", Type: sqltype.NVarChar(256), Doc: "NodeName"},
				{Name: "address", Type: sqltype.NVarChar(256), Doc: "where it serves, https://host:port"},
				{Name: "machine_name", Type: sqltype.NVarChar(256), Nullable: true, Doc: "its machine"},
				{Name: "machine_ip", Type: sqltype.NVarChar(64), Nullable: true, Doc: "its machine's IP address"},
				{Name: "port", Type: sqltype.Int, Doc: "PortNumber"},
				{Name: "ssl_cert_thumbprint", Type: sqltype.NVarChar(128), Nullable: true, Doc: "thumbprint of its certificate"},
				{Name: "version", Type: sqltype.NVarChar(64), Nullable: true, Doc: "version of its binary"},
				{Name: "feature_level", Type: sqltype.Int, Doc: "highest feature level that its binary knows"},
				{Name: "server_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "InstanceName in its settings"},
				{Name: "is_leader", Type: sqltype.Bit, Doc: "whether it led at the last heartbeat"},
				{Name: "last_online_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when the leader last heard from it"},
			},
			Rows: rowsOf(
				func(q *Query) iter.Seq[*command.MasterBeat] { return q.View.Masters() },
				func(_ *Query, m *command.MasterBeat) registry.Row {
					return registry.Row{m.ID, m.Name, m.Address, orNull(m.Machine), orNull(m.IP), int64(m.Port), orNull(m.Thumbprint),
						orNull(m.Version), int64(m.Level), orNull(m.Instance), m.Leader, timeOrNull(m.LastOnline)}
				}),
		},
		{
			Name: "worker_agents", Permission: catalog.Executor, Key: []string{"WorkerAgentId"}, Source: FromLive,
			Doc: "The workers that have registered.",
			Columns: []registry.Column{
				{Name: "WorkerAgentId", Type: sqltype.UniqueIdentifier, Doc: "AgentId in the worker's settings"},
				{Name: "IsEnabled", Type: sqltype.Bit, Doc: "whether it may take tasks; a new worker may not"},
				{Name: "DisplayName", Type: sqltype.NVarChar(256), Nullable: true, Doc: "can be set"},
				{Name: "Description", Type: sqltype.NVarChar(256), Nullable: true, Doc: "can be set"},
				{Name: "MachineName", Type: sqltype.NVarChar(256), Nullable: true, Doc: "its machine"},
				{Name: "Tags", Type: sqltype.NVarCharMax, Nullable: true, Doc: "can be set; takes no part in placement"},
				{Name: "UserAccount", Type: sqltype.NVarChar(256), Nullable: true, Doc: "the account that its packages run under"},
				{Name: "LastOnlineTime", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when a master last heard from it"},
				{Name: "State", Type: sqltype.NVarChar(32), Nullable: true, Live: true,
					Doc: "online, silent, or draining: it finishes what it runs"},
				{Name: "MaxTaskCount", Type: sqltype.Int, Doc: "how many tasks it runs at once"},
				{Name: "RunningTasks", Type: sqltype.Int, Nullable: true, Live: true, Doc: "how many it runs now"},
				{Name: "Extensions", Type: sqltype.NVarCharMax, Nullable: true,
					Doc: "extensions of the packages that it can run, comma-separated"},
				{Name: "Version", Type: sqltype.NVarChar(64), Nullable: true, Doc: "version of its binary"},
				{Name: "CertificateName", Type: sqltype.NVarChar(256),
					Doc: "name in its certificate, which the cluster's own authority vouches for; other names are the " +
						"worker's own words"},
			},
			Rows: rowsOf(
				func(q *Query) iter.Seq[*catalog.Worker] {
					if id, ok := q.Equal["WorkerAgentId"].(string); ok {
						return one(q.View.Worker(id))
					}
					return q.View.Workers()
				},
				func(q *Query, w *catalog.Worker) registry.Row {
					state, running := workerNow(q, w)
					return registry.Row{w.ID, w.Enabled, orNull(w.DisplayName), orNull(w.Description), orNull(w.MachineName),
						orNull(w.Tags), orNull(w.UserAccount), timeOrNull(lastContact(q, w)), state, int64(w.MaxTaskCount), running,
						orNull(strings.Join(w.Extensions, ",")), orNull(w.Version), w.CertName}
				}),
		},
		{
			Name: "catalog_properties", Permission: catalog.Admin, Key: []string{"property_name"},
			Doc: "The catalog's own settings.",
			Columns: []registry.Column{
				{Name: "property_name", Type: sqltype.NVarChar(256), Doc: "name of the property"},
				{Name: "property_value", Type: sqltype.NVarChar(256), Nullable: true, Doc: "its value"},
			},
			Rows: func(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
				return func(yield func(registry.Row, error) bool) {
					for name, value := range q.View.Properties() {
						if !yield(registry.Row{name, value}, nil) {
							return
						}
					}
				}
			},
		},
	}
}

// workerNow is a worker's state and how much it runs; NULL where the leader's memory does not say.
func workerNow(q *Query, w *catalog.Worker) (state, running any) {
	if q.Live == nil {
		return nil, nil
	}
	now, ok := q.Live.Worker(w.ID)
	switch {
	case !ok:
		return nil, nil
	case now.Draining:
		state = "draining"
	case now.Online:
		state = "online"
	default:
		state = "silent"
	}
	return state, int64(now.Running)
}

// lastContact is what the leader remembers, if that is later than what the last heartbeat wrote.
func lastContact(q *Query, w *catalog.Worker) command.Time {
	last := w.LastOnline
	if q.Live != nil {
		if at, ok := q.Live.LastContact(w.ID); ok {
			last = max(last, command.At(at))
		}
	}
	return last
}

type setting struct {
	name  string
	value any
}

// masterProperties are the leader's seven rows; before its first heartbeat their values are NULL.
func masterProperties(q *Query) iter.Seq[setting] {
	var leader command.MasterBeat
	for m := range q.View.Masters() {
		if m.Leader {
			leader = *m
		}
	}
	var port, online any
	if leader.Port != 0 {
		port = strconv.Itoa(leader.Port)
	}
	if leader.LastOnline != 0 {
		online = sqltype.Text(sqltype.DateTimeOffset, leader.LastOnline)
	}
	return slices.Values([]setting{
		{"CLUSTER_LOGDB_SERVER", orNull(leader.Instance)},
		{"LAST_ONLINE_TIME", online},
		{"MACHINE_IP", orNull(leader.IP)},
		{"MACHINE_NAME", orNull(leader.Machine)},
		{"MASTER_ADDRESS", orNull(leader.Address)},
		{"MASTER_SERVICE_PORT", port},
		{"SSLCERT_THUMBPRINT", orNull(leader.Thumbprint)},
	})
}
