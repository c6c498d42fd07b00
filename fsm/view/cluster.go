package view

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

func masterPropertiesView() *View {
	return declare(declaration[setting]{
		Name: "master_properties", Permission: command.MayConnect, Key: []string{"property_name"},
		Doc: "The properties of the master that leads; master_nodes has a row for every master.",
		Columns: []column[setting]{
			{Name: "property_name", Type: sqltype.NVarChar(256), Doc: "name of the property",
				Get: func(p setting) any { return p.name }},
			{Name: "property_value", Type: sqltype.NVarCharMax, Nullable: true, Doc: "its value",
				Get: func(p setting) any { return p.value }},
		},
		Paths: []path[setting]{{From: everything(masterProperties)}},
	})
}

func masterNodesView() *View {
	type master = *command.MasterBeat
	return declare(declaration[master]{
		Name: "master_nodes", Permission: command.MayConnect, Key: []string{"node_id"},
		Doc: "One row for every master of the cluster.",
		Columns: []column[master]{
			{Name: "node_id", Type: sqltype.NVarChar(64), Doc: "the node's id, made once in its data directory",
				Get: func(m master) any { return m.ID }},
			{Name: "name", Type: sqltype.NVarChar(256), Doc: "NodeName", Get: func(m master) any { return m.Name }},
			{Name: "address", Type: sqltype.NVarChar(256), Doc: "where it serves, https://host:port",
				Get: func(m master) any { return m.Address }},
			{Name: "machine_name", Type: sqltype.NVarChar(256), Nullable: true, Doc: "its machine",
				Get: func(m master) any { return orNull(m.Machine) }},
			{Name: "machine_ip", Type: sqltype.NVarChar(64), Nullable: true, Doc: "its machine's IP address",
				Get: func(m master) any { return orNull(m.IP) }},
			{Name: "port", Type: sqltype.Int, Doc: "PortNumber", Get: func(m master) any { return int64(m.Port) }},
			{Name: "ssl_cert_thumbprint", Type: sqltype.NVarChar(128), Nullable: true,
				Doc: "thumbprint of its certificate", Get: func(m master) any { return orNull(m.Thumbprint) }},
			{Name: "version", Type: sqltype.NVarChar(64), Nullable: true, Doc: "version of its binary",
				Get: func(m master) any { return orNull(m.Version) }},
			{Name: "feature_level", Type: sqltype.Int, Doc: "highest feature level that its binary knows",
				Get: func(m master) any { return int64(m.Level) }},
			{Name: "server_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "InstanceName in its settings",
				Get: func(m master) any { return orNull(m.Instance) }},
			{Name: "is_leader", Type: sqltype.Bit, Doc: "whether it led at the last heartbeat",
				Get: func(m master) any { return m.Leader }},
			{Name: "last_online_time", Type: sqltype.DateTimeOffset, Nullable: true,
				Doc: "when the leader last heard from it", Get: func(m master) any { return timeOrNull(m.LastOnline) }},
		},
		Paths: []path[master]{{From: everything((*catalog.Reader).Masters)}},
	})
}

func workerAgentsView() *View {
	type worker = *catalog.Worker
	return declare(declaration[worker]{
		Name: "worker_agents", Permission: command.MayRun, Key: []string{"WorkerAgentId"}, Source: FromLive,
		Doc: "The workers that have registered.",
		Columns: []column[worker]{
			{Name: "WorkerAgentId", Type: sqltype.UniqueIdentifier, Doc: "AgentId in the worker's settings",
				Get: func(w worker) any { return w.ID }},
			{Name: "IsEnabled", Type: sqltype.Bit, Doc: "whether it may take tasks; a new worker may not",
				Get: func(w worker) any { return w.Enabled }},
			{Name: "DisplayName", Type: sqltype.NVarChar(256), Nullable: true, Doc: "can be set",
				Get: func(w worker) any { return orNull(w.DisplayName) }},
			{Name: "Description", Type: sqltype.NVarChar(256), Nullable: true, Doc: "can be set",
				Get: func(w worker) any { return orNull(w.Description) }},
			{Name: "MachineName", Type: sqltype.NVarChar(256), Nullable: true, Doc: "its machine",
				Get: func(w worker) any { return orNull(w.MachineName) }},
			{Name: "Tags", Type: sqltype.NVarCharMax, Nullable: true, Doc: "can be set; takes no part in placement",
				Get: func(w worker) any { return orNull(w.Tags) }},
			{Name: "UserAccount", Type: sqltype.NVarChar(256), Nullable: true,
				Doc: "the account that its packages run under", Get: func(w worker) any { return orNull(w.UserAccount) }},
			{Name: "LastOnlineTime", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when a master last heard from it",
				Derive: func(q *Query, w worker) any { return timeOrNull(lastContact(q, w)) }},
			{Name: "State", Type: sqltype.NVarChar(32), Nullable: true, Live: true,
				Doc: "online, silent, or draining: it finishes what it runs", Derive: workerState},
			{Name: "MaxTaskCount", Type: sqltype.Int, Doc: "how many tasks it runs at once",
				Get: func(w worker) any { return int64(w.MaxTaskCount) }},
			{Name: "RunningTasks", Type: sqltype.Int, Nullable: true, Live: true, Doc: "how many it runs now",
				Derive: func(q *Query, w worker) any {
					if now, ok := q.Live.Worker(w.ID); ok {
						return int64(now.Running)
					}
					return nil
				}},
			{Name: "Extensions", Type: sqltype.NVarCharMax, Nullable: true,
				Doc: "extensions of the packages that it can run, comma-separated",
				Get: func(w worker) any { return orNull(strings.Join(w.Extensions, ",")) }},
			{Name: "Version", Type: sqltype.NVarChar(64), Nullable: true, Doc: "version of its binary",
				Get: func(w worker) any { return orNull(w.Version) }},
			{Name: "CertificateName", Type: sqltype.NVarChar(256),
				Doc: "name in its certificate, which the cluster's own authority vouches for; other names are the " +
					"worker's own words",
				Get: func(w worker) any { return w.CertName }},
		},
		Paths: []path[worker]{
			{On: "WorkerAgentId", Cost: oneRow, In: func(q *Query, ids []any) iter.Seq[worker] {
				return found(q, ids, q.Reader.Worker)
			}},
			{From: everything((*catalog.Reader).Workers)},
		},
	})
}

func catalogPropertiesView() *View {
	return declare(declaration[setting]{
		Name: "catalog_properties", Permission: command.MayAdminister, Key: []string{"property_name"},
		Doc: "The catalog's own settings.",
		Columns: []column[setting]{
			{Name: "property_name", Type: sqltype.NVarChar(256), Doc: "name of the property",
				Get: func(p setting) any { return p.name }},
			{Name: "property_value", Type: sqltype.NVarChar(256), Nullable: true, Doc: "its value",
				Get: func(p setting) any { return p.value }},
		},
		Paths: []path[setting]{{From: everything(func(r *catalog.Reader) iter.Seq[setting] {
			return func(yield func(setting) bool) {
				for name, value := range r.Properties() {
					if !yield(setting{name, value}) {
						return
					}
				}
			}
		})}},
	})
}

func workerState(q *Query, w *catalog.Worker) any {
	now, ok := q.Live.Worker(w.ID)
	switch {
	case !ok:
		return nil
	case now.Draining:
		return "draining"
	case now.Online:
		return "online"
	}
	return "silent"
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
func masterProperties(r *catalog.Reader) iter.Seq[setting] {
	var leader command.MasterBeat
	for m := range r.Masters() {
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
