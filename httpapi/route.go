package httpapi

import (
	"fmt"
	"net/http"
	"sort"
	"strings"

	"scaleout/httpapi/wire"
)

// Bounds of bodies.
const (
	smallBody    = 16 << 10
	workerBody   = 8 << 20
	messagesBody = 16 << 20
	callBody     = 256 << 10
	fileBody     = 12 << 20 // a project of 8 MiB in base64, and room for the other arguments
)

// route is everything about a route except its work.
type route struct {
	name   string // in metrics and as the OpenAPI operation
	method string
	path   string
	who    access
	// here tells whether the master asked answers; nil: the leader does.
	here func(*http.Request) bool
	// repeatable: a call whose outcome is unknown may be repeated. keyed: it may, since every call gets a request key.
	repeatable bool
	keyed      bool
	// quick: answered from memory, so no 102 Processing is sent.
	quick bool
	// stays: the call is about a change of leader itself, so hearing of one does not end it.
	stays bool
	// untimed: the handler bounds its own time.
	untimed bool
	// enter checks the permission and the size of the body where they depend on the path. The master asked calls it before
	// it reads the body.
	enter func(a *API, r *request) error
	// limit is the most bytes of a body that is read into memory; 0: the route takes none. stream: the handler reads it.
	limit  int64
	stream bool
	// computes: at most so many of a caller's calls do at a time; see turn.
	computes bool
	handle   func(a *API, w http.ResponseWriter, r *request) error
	// stopped answers a call that the leader still holds when the master asked is about to stop.
	stopped func(a *API, w http.ResponseWriter, r *request) error

	// For OpenAPI.
	doc      string
	query    []queryParameter
	request  any // zero value of the body
	response any // zero value of a 200; nil: no JSON
	media    string
	requests string // media type of a streamed request
}

type queryParameter struct{ name, doc, kind string }

func always(*http.Request) bool { return true }

func stale(r *http.Request) bool {
	local, _ := staleRead(r.URL.Query())
	return local
}

// routes is the table. Procedures and views stand here once each: what there is of them comes from the registry.
func (a *API) routes() []route {
	metricsFor := anyCertificate
	if a.cfg.MetricsOpen {
		metricsFor = anybody
	}
	return []route{
		{name: "list_views", method: "GET", path: "/v1/catalog/views", who: users, here: always, quick: true,
			handle: (*API).listViews, doc: "Lists the catalog's views.", response: wire.Views{}},
		{name: "view", method: "GET", path: "/v1/catalog/views/{view}", who: users, computes: true, here: stale,
			repeatable: true,
			handle:     (*API).view, doc: "Reads a view.", query: viewQuery, response: wire.ViewAnswer{}},
		{name: "list_procedures", method: "GET", path: "/v1/catalog/procedures", who: users, here: always, quick: true,
			handle: (*API).listProcedures, doc: "Lists the catalog's procedures.", response: wire.Procedures{}},
		{name: "procedure", method: "POST", path: "/v1/catalog/procedures/{procedure}", who: users, computes: true,
			repeatable: true, keyed: true,
			enter: (*API).enterProcedure, limit: fileBody, untimed: true,
			handle: (*API).procedure, doc: "Calls a procedure.", response: wire.CallAnswer{}},

		{name: "register", method: "POST", path: "/v1/workers/register", who: workers, computes: true, repeatable: true,
			limit:  workerBody,
			handle: (*API).register, doc: "Registers a worker.", request: wire.Register{}, response: wire.RegisterAnswer{}},
		{name: "exchange", method: "POST", path: "/v1/workers/{id}/exchange", who: workers, computes: true,
			repeatable: true, limit: workerBody, untimed: true,
			handle: (*API).exchange, stopped: (*API).stoppedExchange, doc: "One poll of a worker: reports, renewals, grants.",
			request: wire.Exchange{}, response: wire.ExchangeAnswer{}},
		{name: "messages", method: "POST", path: "/v1/workers/{id}/messages", who: workers, computes: true,
			repeatable: true, limit: messagesBody,
			handle: (*API).messages, doc: "Takes messages of packages.",
			request: wire.Messages{}, response: wire.MessagesAnswer{}},

		{name: "get_blob", method: "GET", path: "/v1/blobs/{sha256}", who: blobReaders, here: always, untimed: true,
			handle: (*API).getBlob, doc: "Reads a blob, from another master when this one lacks it.",
			media: "application/octet-stream"},
		{name: "put_blob", method: "PUT", path: "/v1/blobs/{sha256}", who: blobWriters, repeatable: true, stream: true,
			untimed: true,
			handle:  (*API).putBlob, doc: "Stores a blob on a majority of the masters.",
			requests: "application/octet-stream", response: wire.Blob{}},

		{name: "status_leader", method: "GET", path: "/v1/status/leader", who: anyCertificate, here: always, quick: true,
			handle: (*API).statusLeader, doc: "Who leads, as this master believes; 503 no_leader when nobody does.",
			response: wire.Leader{}},
		{name: "status_peers", method: "GET", path: "/v1/status/peers", who: anyCertificate, here: always, quick: true,
			handle: (*API).statusPeers, doc: "The voters' addresses.", response: wire.Peers{}},

		{name: "leader", method: "GET", path: "/leader", who: anybody, here: always, quick: true,
			handle: (*API).isLeader, doc: "200 on the leader, 503 elsewhere: for load balancers.", media: "text/plain"},
		{name: "livez", method: "GET", path: "/livez", who: anybody, here: always, quick: true,
			handle: (*API).livez, doc: "200 while the process is up.", media: "text/plain"},
		{name: "readyz", method: "GET", path: "/readyz", who: anybody, here: always,
			handle: (*API).readyz, doc: "200 when this master can serve or forward and is caught up.", media: "text/plain",
			query: []queryParameter{{"verbose", "answer with the named checks as JSON", "string"}}},
		{name: "metrics", method: "GET", path: "/metrics", who: metricsFor, here: always,
			handle: (*API).prometheus, doc: "Metrics for Prometheus. The setting MetricsOpen opens them to anybody.",
			media: "text/plain"},
		{name: "openapi", method: "GET", path: "/v1/openapi.json", who: anyCertificate, here: always, quick: true,
			handle: (*API).describeItself, doc: "This document.", media: "application/json"},

		{name: "events", method: "GET", path: "/v1/events", who: users, here: always, untimed: true,
			handle: (*API).events, doc: "What happens, as server-sent events; ids are equal on every master.",
			query: eventQuery, media: "text/event-stream"},
		{name: "cluster", method: "GET", path: "/v1/cluster", who: monitors, here: stale, repeatable: true,
			handle: (*API).cluster,
			doc: "Members, roles, lag, health, failure tolerance, as the leader sees them; with consistency=stale as the " +
				"master asked does, also when nobody leads.",
			response: wire.ClusterStatus{},
			query:    []queryParameter{{queryConsistency, "linearizable (default) or stale", "string"}}},
		{name: "transfer_leadership", method: "POST", path: "/v1/cluster/transfer-leadership", who: admins,
			limit: smallBody, stays: true,
			handle: (*API).transfer, doc: "Hands leadership to another master.",
			request: wire.Transfer{}, response: wire.Leader{}},
		{name: "remove_member", method: "DELETE", path: "/v1/cluster/members/{id}", who: admins, repeatable: true,
			handle: (*API).removeMember, doc: "Removes a master from the cluster.",
			query: []queryParameter{{"force", "remove it even when blobs would lose their majority", "boolean"}}},
		{name: "save_backup", method: "GET", path: "/v1/cluster/backup", who: admins, repeatable: true, untimed: true,
			stays:  true,
			handle: (*API).saveBackup, doc: "A backup of the whole cluster, streamed.", media: wire.ContentBackup,
			query: []queryParameter{{"blobs", "false leaves project files and messages out", "boolean"}}},
		{name: "restore_backup", method: "PUT", path: "/v1/cluster/backup", who: admins, stream: true, untimed: true,
			stays:  true,
			handle: (*API).restoreBackup, doc: "Restores a backup into a new, empty cluster.",
			requests: wire.ContentBackup, response: wire.Restored{}},
		{name: "debug", method: "GET", path: "/v1/cluster/debug", who: admins, here: always,
			handle: (*API).debug, doc: "This master for a bundle: versions, settings, newest log lines, goroutines. No secrets.",
			response: wire.Debug{}},
		{name: "state_hash", method: "GET", path: "/v1/cluster/state-hash", who: monitors, here: always,
			handle: (*API).stateHash, doc: "The hash of this master's state.", response: wire.StateHash{},
			query: []queryParameter{
				{"index", "wait until the state is exactly here; 409 index_passed when it is past it", "integer"},
			}},
	}
}

func notFound(_ *API, _ http.ResponseWriter, r *request) error {
	return fmt.Errorf("%w: %s", errNotFound, r.URL.Path)
}

// methodNotAllowed names the methods that the path does take.
func methodNotAllowed(routes []route) func(*API, http.ResponseWriter, *request) error {
	return func(_ *API, w http.ResponseWriter, r *request) error {
		var allowed []string
		for i := range routes {
			if samePath(routes[i].path, r.URL.EscapedPath()) {
				allowed = append(allowed, methods(routes[i].method)...)
			}
		}
		sort.Strings(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return fmt.Errorf("%w: %s %s; it takes %s", errMethod, r.Method, r.URL.Path, strings.Join(allowed, ", "))
	}
}

func samePath(pattern, path string) bool {
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && !strings.HasPrefix(a[i], "{") {
			return false
		}
	}
	return true
}
