package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/view"
	"scaleout/httpapi/client"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

func TestACodeIsSaidOnce(t *testing.T) {
	err := fmt.Errorf("%w: %w", command.ErrRefused, errors.New("no master can take over"))
	if k, detail := explain(err); k.code != "refused" || detail != "no master can take over" {
		t.Errorf("%s: %s", k.code, detail)
	}
}

// TestEveryError sends each error of the table, and each refusal of the catalog, through a route and back.
func TestEveryError(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	type row struct {
		err    error
		status int
		code   string
	}
	rows := []row{
		{command.ErrUnknownOutcome, 503, "unknown_outcome"},
		{fmt.Errorf("%w: %w", command.ErrStopping, command.ErrUnknownOutcome), 503, "unknown_outcome"},
		{ErrCertificateRequired, 401, "certificate_required"},
		{ErrUnknownCluster, 403, "unknown_cluster"},
		{errInvalidCertificate, 403, "certificate_invalid"},
		{errForbidden, 403, "forbidden"},
		{errBadHop, 400, "bad_forward"},
		{errSlow, 408, "request_timeout"},
		{errNotFound, 404, "not_found"},
		{errMethod, 405, "method_not_allowed"},
		{command.Refuse(command.CodeKeyReused, "k"), 422, "key_reused"},
		{command.ErrStopping, 503, "stopping"},
		{fmt.Errorf("%w: %w", command.ErrStopping, command.ErrNoLeader), 503, "stopping"},
		{command.ErrNotLeader, 503, "not_leader"},
		{command.ErrNotReady, 503, "not_leader"},
		{command.ErrDoubt, 503, "not_leader"},
		{command.ErrNoLeader, 503, "no_leader"},
		{command.ErrBusy, 503, "busy"},
		{command.ErrTooLarge, 413, "command_too_large"},
		{command.ErrLevel, 409, "feature_level"},
		{command.ErrUnknownMember, 404, "member_not_found"},
		{command.ErrRefused, 409, "refused"},
		{command.ErrIndexPassed, 409, "index_passed"},
		{command.ErrDigest, 422, "digest_mismatch"},
		{command.ErrNoSpace, 507, "no_space"},
		{command.ErrNoMajority, 503, "no_majority"},
		{command.ErrNoBlob, 404, "blob_not_found"},
		{errors.Join(command.ErrNoSpace, command.ErrNoMajority), 503, "no_majority"},
		{errors.Join(command.ErrNoSpace, command.ErrNoBlob), 404, "blob_not_found"},
		{command.ErrBlobTooLarge, 413, "project_too_large"},
		{service.ErrTimeout, 504, "timeout"},
		{context.DeadlineExceeded, 504, "timeout"},
		{context.Canceled, 499, "canceled"},
		{command.ErrBackupDamaged, 422, "backup_damaged"},
		{command.ErrBackupKey, 422, "backup_key"},
		{command.ErrNotEmpty, 409, "cluster_not_empty"},
	}
	for _, k := range kinds {
		if !slices.ContainsFunc(rows, func(r row) bool { return errors.Is(r.err, k.err) }) {
			t.Errorf("%v is in no row here", k.err)
		}
	}
	rejections := map[string]int{
		"too_many_keys": 429, "key_reused": 422, "lease_too_short": 422, "agent_id_in_use": 409, "limit_reached": 429,
		"never_heard_of": 409,
	}
	for _, c := range registry.Codes() {
		rejections[c.Name] = c.Status
	}
	for code, status := range rejections {
		rows = append(rows, row{command.Refuse(code, "x"), status, code}, row{command.Refuse(code+".variant", "x"),
			status, code})
	}
	rows = append(rows, row{&wire.BadInput{Code: "invalid_json"}, 400, "invalid_json"},
		row{&wire.BadInput{Code: "body_too_large"}, 413, "body_too_large"},
		row{&service.LimitReached{Limit: "MaxCallsInFlight", Retry: time.Millisecond}, 429, "limit_reached"},
		row{errors.New("secret of the inside"), 500, "internal_error"})
	c := w.as(&root)
	var current error
	rt := &route{name: "test", who: users, here: always, handle: func(*API, http.ResponseWriter, *request) error {
		return fmt.Errorf("around: %w", current)
	}}
	n.api.router.Handle("/test", n.api.enter(rt))
	for _, r := range rows {
		current = r.err
		g := do(t, c, "GET", n.srv.URL+"/test", "")
		if g.StatusCode != r.status || g.problem.Code != r.code || g.problem.Instance != "/test" {
			t.Errorf("%v: %d %s", r.err, g.StatusCode, g.body)
		}
		if wait := g.Header.Get("Retry-After"); (wait != "") != (r.status == 503 || r.status == 504 || r.status == 429) {
			t.Errorf("%v: Retry-After %q", r.err, wait)
		}
		if strings.Contains(g.body, "secret") {
			t.Errorf("told outside: %s", g.body)
		}
	}
}

// TestALimitIsNamed: whoever is refused by a limit learns which setting it is and when another try may help.
func TestALimitIsNamed(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	var current error
	rt := &route{name: "test", who: users, here: always, handle: func(*API, http.ResponseWriter, *request) error {
		return current
	}}
	n.api.router.Handle("/test", n.api.enter(rt))
	for _, x := range []struct {
		name  string
		err   error
		retry string
	}{
		{"of this master",
			fmt.Errorf("around: %w", &service.LimitReached{Limit: "MaxX", Detail: "3 are there",
				Retry: 1500 * time.Millisecond}), "2"},
		{"at once", &service.LimitReached{Limit: "MaxX", Detail: "3 are there"}, "1"},
		{"of the state", command.Refuse(command.CodeLimitNeverEnabled, "MaxX", 3), "60"},
	} {
		t.Run(x.name, func(t *testing.T) {
			current = x.err
			g := do(t, w.as(&root), "GET", n.srv.URL+"/test", "")
			if g.StatusCode != 429 || g.problem.Code != wire.CodeLimitReached || g.problem.Limit != "MaxX" ||
				!strings.HasPrefix(g.problem.Detail, "3 ") ||
				g.Header.Get("Retry-After") != x.retry {
				t.Fatal(g.StatusCode, g.Header, g.body)
			}
		})
	}
	if g := do(t, w.as(&root), "GET", n.srv.URL+"/metrics", ""); !strings.Contains(g.body,
		`scaleout_limit_reached_total{limit="MaxX"} 3`) {
		t.Fatal(g.body)
	}
}

func TestPanicIsAnError(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	n.api.router.Handle("/boom",
		n.api.enter(&route{name: "boom", who: anybody, here: always, handle: func(*API, http.ResponseWriter, *request) error {
			panic("secret")
		}}))
	n.api.router.Handle("/late",
		n.api.enter(&route{name: "late", who: anybody, here: always,
			handle: func(_ *API, w http.ResponseWriter, _ *request) error {
				w.Header().Set("Content-Length", "100")
				w.Write([]byte("half"))
				return errors.New("too late for a problem")
			}}))
	g := do(t, w.as(nil), "GET", n.srv.URL+"/boom", "")
	if g.StatusCode != 500 || g.problem.Code != wire.CodeInternal || strings.Contains(g.body, "secret") {
		t.Fatal(g.StatusCode, g.body)
	}
	if resp, err := w.as(nil).Get(n.srv.URL + "/late"); err == nil {
		b := make([]byte, 200)
		if _, err = resp.Body.Read(b); err == nil {
			_, err = resp.Body.Read(b)
		}
		resp.Body.Close()
		if err == nil {
			t.Fatal("half an answer looked whole")
		}
	}
	if g := do(t, w.as(nil), "GET", n.srv.URL+"/livez", ""); g.StatusCode != 200 {
		t.Fatal(g.StatusCode)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	w := newWorld(t, 1)
	url := w.nodes[0].srv.URL
	if g := do(t, w.as(nil), "GET", url+"/v2", ""); g.StatusCode != 401 {
		t.Error(g.StatusCode)
	}
	for _, path := range []string{"/", "/v1", "/v1/catalog/views/", "/v1//cluster", "/v1/catalog/../cluster"} {
		if g := do(t, w.as(&root), "GET", url+path, ""); g.StatusCode != 404 {
			t.Errorf("%s: %d %s", path, g.StatusCode, g.body)
		}
	}
	g := do(t, w.as(&root), "POST", url+"/v1/cluster/members/x", "")
	if g.StatusCode != 405 || g.Header.Get("Allow") != "DELETE" || g.problem.Code != wire.CodeMethodNotAllowed {
		t.Error(g.StatusCode, g.Header.Get("Allow"), g.body)
	}
	if g := do(t, w.as(&root), "PATCH", url+"/v1/blobs/x", ""); g.Header.Get("Allow") != "GET, HEAD, PUT" {
		t.Error(g.Header.Get("Allow"))
	}
}

// Every answer to a known caller says how new it is, who leads and which request it answers; refusals do, too.
func TestHeadersOfAnswers(t *testing.T) {
	w := newWorld(t, 2)
	w.apply(root, &command.CreateFolder{Name: "a"})
	for _, path := range []string{"/v1/status/leader", "/v1/status/peers", "/v1/catalog/views",
		"/v1/catalog/views/folders",
		"/v1/catalog/views/folders?consistency=stale", "/v1/catalog/views/none", "/v1/cluster", "/v1/openapi.json",
		"/metrics", "/leader", "/readyz", "/none"} {
		for i, n := range w.nodes {
			g := do(t, w.as(&root), "GET", n.srv.URL+path, "")
			if g.Header.Get(wire.HeaderIndex) == "" || g.Header.Get(wire.HeaderLeader) != "master-1" ||
				g.Header.Get(wire.HeaderRequestID) == "" {
				t.Errorf("%s at %d: %d %v", path, i, g.StatusCode, g.Header)
			}
		}
	}
	if g := do(t, w.as(nil), "GET", w.nodes[0].srv.URL+"/v1/cluster", ""); g.Header.Get(wire.HeaderIndex) != "" ||
		g.Header.Get(wire.HeaderLeader) != "" {
		t.Errorf("a stranger is told %v", g.Header)
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t, 2)
	c := w.as(nil)
	for i, n := range w.nodes {
		status := map[bool]int{true: 200, false: 503}
		if g := do(t, c, "GET", n.srv.URL+"/leader", ""); g.StatusCode != status[i == 0] {
			t.Error(i, g.StatusCode)
		}
		for _, ready := range []bool{true, false} {
			n.ready.Store(ready)
			if g := do(t, c, "GET", n.srv.URL+"/readyz", ""); g.StatusCode != status[ready] {
				t.Error(i, ready, g.StatusCode)
			}
			r, err := w.client(nobody, i).Ready(t.Context())
			if err != nil || r.Ready != ready || len(r.Checks) != 1 || r.Checks[0].Name != "caught_up" {
				t.Error(r, err)
			}
		}
		if g := do(t, c, "GET", n.srv.URL+"/livez", ""); g.StatusCode != 200 {
			t.Error(i, g.StatusCode)
		}
	}
}

func TestClusterRoutes(t *testing.T) {
	w := newWorld(t, 2)
	admin, mon := w.client(root, 1), w.client(monitor, 1)
	s, err := mon.Cluster(t.Context())
	if err != nil || s.ClusterID != "c1" || s.Members == nil || s.Warnings == nil {
		t.Fatal(s, err)
	}
	w.elect(-1)
	if s, err := mon.ClusterStale(t.Context()); err != nil || s.ClusterID != "c1" {
		t.Errorf("without a leader: %+v, %v", s, err)
	}
	w.elect(0)
	if g := do(t, w.as(&monitor), "GET", w.nodes[0].srv.URL+"/v1/cluster?consistency=later", ""); g.StatusCode != 400 {
		t.Error(g.StatusCode)
	}
	if err := admin.RemoveMember(t.Context(), "gone", false); client.Code(err) != "member_not_found" {
		t.Error(err)
	}
	if err := admin.RemoveMember(t.Context(), "id-1", false); client.Code(err) != "refused" ||
		!strings.Contains(err.Error(), "one master only") {
		t.Error(err)
	}
	if err := admin.RemoveMember(t.Context(), "id-1", true); err != nil {
		t.Error(err)
	}
	if g := do(t, w.as(&root), "DELETE", w.nodes[0].srv.URL+"/v1/cluster/members/x?force=perhaps",
		""); g.StatusCode != 400 {
		t.Error(g.StatusCode)
	}
	h, err := mon.StateHash(t.Context(), 0)
	if err != nil || h.Index != 1 || len(h.Hash) < 32 {
		t.Fatal(h, err)
	}
	waited := make(chan error, 1)
	go func() {
		h, err := mon.StateHash(context.Background(), 3)
		if err == nil && h.Index != 3 {
			err = fmt.Errorf("at %d", h.Index)
		}
		waited <- err
	}()
	w.apply(root, &command.CreateFolder{Name: "a"})
	w.apply(root, &command.CreateFolder{Name: "b"})
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	w.apply(root, &command.CreateFolder{Name: "c"})
	_, err = mon.StateHash(t.Context(), 3)
	var e *client.Error
	if !errors.As(err, &e) || e.Code != wire.CodeIndexPassed || e.Status != 409 || e.Problem.Index != 4 {
		t.Fatal(err)
	}
	l, err := admin.Transfer(t.Context(), "")
	if err != nil || l.Name != "master-2" {
		t.Fatal(l, err)
	}
}

func TestOpenAPI(t *testing.T) {
	w := newWorld(t, 1, func(c *parts) { c.Version = "1.2.3" })
	g := do(t, w.as(&nobody), "GET", w.nodes[0].srv.URL+"/v1/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(g.body))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if doc.Info.Version != "1.2.3" {
		t.Error(doc.Info.Version)
	}
	for _, p := range procedure.All() {
		item := doc.Paths.Value("/v1/catalog/procedures/" + p.Name)
		if item == nil || item.Post == nil {
			t.Errorf("procedure %s is missing", p.Name)
		}
	}
	for _, v := range view.All() {
		item := doc.Paths.Value("/v1/catalog/views/" + v.Name)
		if item == nil || item.Get == nil {
			t.Errorf("view %s is missing", v.Name)
			continue
		}
		rows := item.Get.Responses.Status(200).Value.Content.Get("application/json").Schema.Value.Properties["rows"]
		if got := len(rows.Value.Items.Value.Properties); got != len(v.Columns) {
			t.Errorf("view %s has %d columns there, %d here", v.Name, got, len(v.Columns))
		}
	}
	for _, rt := range w.nodes[0].api.routes() {
		if rt.name == "view" || rt.name == "procedure" {
			continue
		}
		if item := doc.Paths.Value(rt.path); item == nil || item.GetOperation(rt.method) == nil {
			t.Errorf("%s %s is missing", rt.method, rt.path)
		}
	}
	create := doc.Paths.Value("/v1/catalog/procedures/create_execution").Post.RequestBody.Value.
		Content.Get("application/json").Schema.Value
	if create.Properties["useanyworker"].Value.Default != true || !slices.Contains(create.Required, "package_name") ||
		create.Properties["execution_id"] != nil {
		t.Error("create_execution is described wrongly")
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	_, err := New(Config{})
	if err == nil || !strings.Contains(err.Error(), "Member") {
		t.Fatal(err)
	}
}
