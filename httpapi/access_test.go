package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// TestPermissions holds every route against every kind of caller. The table is written out: derived from the routes it
// would agree with any mistake in them.
func TestPermissions(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	refuse := func(string) error { return command.ErrRefused }
	n.transfer.Store(&refuse)
	callers := map[string]*command.Caller{
		"none": nil, "user": &nobody, "executor": &runner, "monitor": &monitor, "admin": &root, "worker": &worker1,
		"master":    {Kind: "master", Name: "master-9"},
		"logreader": {Kind: "user", Name: "r", Roles: []string{command.RoleReader}},
	}
	clients := map[string]*http.Client{}
	for name, c := range callers {
		clients[name] = w.as(c)
	}
	anyUser := "user executor monitor admin logreader"
	everyone := anyUser + " worker master"
	allowed := map[string]string{
		"list_views": anyUser, "view": anyUser, "list_procedures": anyUser, "procedure": anyUser,
		"register": "worker", "exchange": "worker", "messages": "worker",
		"get_blob": "admin worker master", "put_blob": "admin master",
		"status_leader": everyone, "status_peers": everyone, "openapi": everyone, "metrics": everyone,
		"leader": everyone + " none", "livez": everyone + " none", "readyz": everyone + " none",
		"cluster": "monitor admin", "state_hash": "monitor admin", "transfer_leadership": "admin", "remove_member": "admin",
		"events": anyUser, "save_backup": "admin", "restore_backup": "admin", "debug": "admin",
	}
	routes := n.api.routes()
	if len(routes) != len(allowed) {
		t.Fatalf("%d routes, %d rows in this table", len(routes), len(allowed))
	}
	for _, rt := range routes {
		list, ok := allowed[rt.name]
		if !ok {
			t.Errorf("route %s is not in this table", rt.name)
		}
		path := strings.NewReplacer("{view}", "folders", "{procedure}", "enable_scaleout", "{id}", "x", "{sha256}",
			"x").Replace(rt.path)
		for name, c := range clients {
			if rt.name == "events" {
				path = rt.path + "?follow=false" // it would go on
			}
			g := do(t, c, rt.method, n.srv.URL+path, "")
			// A procedure or a view that refuses names itself: the route did not.
			byRoute := g.problem.Code == wire.CodeForbidden || g.problem.Code == command.FamilyPermissionDenied &&
				g.problem.Args[0] == rt.method+" "+rt.path
			mayNot := g.StatusCode == 401 || g.StatusCode == 403 && byRoute
			if may := strings.Contains(" "+list+" ", " "+name+" "); may == mayNot {
				t.Errorf("%s %s as %s: %d %s", rt.method, path, name, g.StatusCode, g.problem.Code)
			}
			if name == "none" && mayNot && g.problem.Code != wire.CodeCertificateRequired {
				t.Errorf("%s without a certificate: %s", path, g.problem.Code)
			}
		}
	}
}

func TestProceduresHaveTheirOwnPermissions(t *testing.T) {
	w := newWorld(t, 1)
	url := w.nodes[0].srv.URL
	g := do(t, w.as(&runner), "POST", url+"/v1/catalog/procedures/enable_scaleout", "{}")
	if g.StatusCode != 403 || g.problem.Code != "permission_denied" ||
		!strings.Contains(g.problem.Detail, command.RoleAdmin) {
		t.Fatal(g.StatusCode, g.body)
	}
	if g := do(t, w.as(&nobody), "GET", url+"/v1/catalog/views/worker_agents", ""); g.StatusCode != 403 ||
		g.problem.Code != "permission_denied" {
		t.Fatal(g.StatusCode, g.body)
	}
}

func TestOtherClusterIsRefusedAndCounted(t *testing.T) {
	w := newWorld(t, 1)
	other := newAuthority(t, "c2")
	g := do(t, w.with(other, &root), "GET", w.nodes[0].srv.URL+"/v1/cluster", "")
	if g.StatusCode != 403 || g.problem.Code != wire.CodeUnknownCluster {
		t.Fatal(g.StatusCode, g.body)
	}
	if i := strings.LastIndexByte(g.problem.Detail, ' '); len(g.problem.Detail)-i != 65 {
		t.Fatalf("no fingerprint: %s", g.problem.Detail)
	}
	do(t, w.as(nil), "GET", w.nodes[0].srv.URL+"/v1/nothing", "")
	families, err := w.nodes[0].registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "scaleout_http_refused_total" {
			for _, m := range f.Metric {
				seen[m.Label[0].GetValue()] = m.Counter.GetValue()
			}
		}
	}
	if seen[wire.CodeUnknownCluster] != 1 || seen[wire.CodeCertificateRequired] != 1 {
		t.Fatal(seen)
	}
}

func TestMetricsOpen(t *testing.T) {
	w := newWorld(t, 1, func(c *parts) { c.MetricsOpen = true })
	do(t, w.as(nil), "GET", w.nodes[0].srv.URL+"/livez", "")
	g := do(t, w.as(nil), "GET", w.nodes[0].srv.URL+"/metrics", "")
	if g.StatusCode != 200 ||
		!strings.Contains(g.body, `scaleout_http_request_duration_seconds_count{code="200",route="livez"} 1`) {
		t.Fatal(g.StatusCode, g.body)
	}
}

// TestForwardingHeadersFromOutside: what only masters may say is not believed from others, however it is spelled.
func TestForwardingHeadersFromOutside(t *testing.T) {
	w := newWorld(t, 2)
	admin := wire.EncodeCaller(wire.Caller{Kind: "user", Name: "root", Roles: []string{command.RoleAdmin}})
	for _, node := range []int{0, 1} { // leader, follower
		url := w.nodes[node].srv.URL + "/v1/catalog/procedures/create_folder"
		body := fmt.Sprintf(`{"folder_name":"F%d"}`, node)
		for _, c := range []command.Caller{nobody, worker1} {
			g := do(t, w.as(&c), "POST", url, body, wire.HeaderHop, "master-1", wire.HeaderCaller, admin,
				"scaleout-INTERNAL-caller", admin)
			if g.StatusCode != 403 {
				t.Fatalf("node %d as %s: %d %s", node, c.Name, g.StatusCode, g.body)
			}
		}
		if g := do(t, w.as(nil), "POST", url, body, wire.HeaderHop, "master-1", wire.HeaderCaller,
			admin); g.StatusCode != 401 {
			t.Fatalf("node %d without a certificate: %d", node, g.StatusCode)
		}
	}
	if _, ok := w.fsm.Reader().Folder("F0"); ok {
		t.Fatal("the call was done")
	}
	// A master's word counts.
	master := w.as(&command.Caller{Kind: "master", Name: "master-2"})
	g := do(t, master, "POST", w.nodes[0].srv.URL+"/v1/catalog/procedures/create_folder", `{"folder_name":"G"}`,
		wire.HeaderHop, "master-2", wire.HeaderCaller, admin, wire.HeaderHopRequestID, "rid")
	if g.StatusCode != 200 || g.Header.Get(wire.HeaderRequestID) != "rid" {
		t.Fatal(g.StatusCode, g.body)
	}
	if f, ok := w.fsm.Reader().Folder("G"); !ok || f.CreatedBy != "root" {
		t.Fatal("created by", f)
	}
	if g := do(t, master, "GET", w.nodes[0].srv.URL+"/v1/catalog/views/folders", "", wire.HeaderHop, "m",
		wire.HeaderCaller, "junk"); g.StatusCode != 400 {
		t.Fatal(g.StatusCode, g.body)
	}
}
