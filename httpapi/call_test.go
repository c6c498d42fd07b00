package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/sqltype"
	"scaleout/fsm/view"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

func TestKeys(t *testing.T) {
	w := newWorld(t, 2)
	c := w.as(&root)
	url := w.nodes[0].srv.URL + "/v1/catalog/procedures/"
	first := do(t, c, "POST", url+"create_folder", `{"folder_name":"F"}`, wire.HeaderKey, "k1")
	if first.StatusCode != 200 {
		t.Fatal(first.body)
	}
	// The plan of a repeated call would refuse (the folder exists); the kept answer wins. Spelling does not matter, nor
	// which master is asked.
	for i, body := range []string{`{"folder_name":"F"}`, ` {"FOLDER_NAME" : "F"} `,
		`{"folder_name":"F","folder_id":null}`} {
		again := do(t, c, "POST", w.nodes[i%2].srv.URL+"/v1/catalog/procedures/create_folder", body, wire.HeaderKey, "k1")
		if again.StatusCode != 200 || again.body != first.body {
			t.Fatal(body, again.StatusCode, again.body)
		}
	}
	for _, call := range [][2]string{{"create_folder", `{"folder_name":"G"}`}, {"delete_folder", `{"folder_name":"F"}`}} {
		g := do(t, c, "POST", url+call[0], call[1], wire.HeaderKey, "k1")
		if g.StatusCode != 422 || g.problem.Code != wire.CodeKeyReused {
			t.Fatal(call, g.StatusCode, g.body)
		}
	}
	// Another caller's key of the same text is another key.
	other := command.Caller{Kind: "user", Name: "root2", Roles: root.Roles}
	if g := do(t, w.as(&other), "POST", url+"create_folder", `{"folder_name":"F"}`, wire.HeaderKey,
		"k1"); g.problem.Code != "folder_exists" {
		t.Fatal(g.body)
	}
	// A plan's refusal is not kept: the same key works once the obstacle is gone.
	if g := do(t, c, "POST", url+"create_folder", `{"folder_name":"F"}`, wire.HeaderKey, "k2"); g.problem.Code !=
		"folder_exists" {
		t.Fatal(g.body)
	}
	do(t, c, "POST", url+"delete_folder", `{"folder_name":"F"}`)
	if g := do(t, c, "POST", url+"create_folder", `{"folder_name":"F"}`, wire.HeaderKey, "k2"); g.StatusCode != 200 {
		t.Fatal(g.body)
	}
	for _, bad := range []string{"", "a b", strings.Repeat("x", 129), "ä"} {
		if g := do(t, c, "POST", url+"create_folder", `{"folder_name":"H"}`, wire.HeaderKey, bad); g.StatusCode != 400 ||
			g.problem.Code != wire.CodeInvalidArgument {
			t.Errorf("key %q: %d %s", bad, g.StatusCode, g.body)
		}
	}
	if g := do(t, c, "POST", url+"create_folder", `{"folder_name":"H"}`, wire.HeaderKey, "k3", wire.HeaderKeyOrigin,
		"mine"); g.StatusCode != 400 {
		t.Error(g.body)
	}
}

func TestOriginOfKeys(t *testing.T) {
	w := newWorld(t, 2)
	cl := w.client(root, 1)
	last := func() command.Key { return w.keys[len(w.keys)-1] }
	if _, err := cl.Call(t.Context(), "create_folder", map[string]any{"folder_name": "a"}); err != nil {
		t.Fatal(err)
	}
	if k := last(); k.Chosen || len(k.Text) != 32 || len(k.Request) != 32 {
		t.Fatalf("of the library: %+v", k)
	}
	if _, err := cl.Call(t.Context(), "create_folder", map[string]any{"folder_name": "b"},
		client.WithKey("mine")); err != nil {
		t.Fatal(err)
	}
	if k := last(); !k.Chosen || k.Text != "mine" {
		t.Fatalf("chosen: %+v", k)
	}
	do(t, w.as(&root), "POST", w.nodes[1].srv.URL+"/v1/catalog/procedures/create_folder", `{"folder_name":"c"}`)
	if k := last(); k.Chosen || k.Text == "" {
		t.Fatalf("added on the way: %+v", k)
	}
}

// execution makes a created execution with one package.
func (w *world) execution(t *testing.T) int64 {
	t.Helper()
	manifest, err := command.PackManifest(command.Manifest{ID: "{x}",
		Packages: []command.Package{{Name: "p.sh", EntryPoint: true}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []command.Command{
		&command.CreateFolder{Name: "F"},
		&command.DeployProject{Folder: "F", Project: "P", Blob: strings.Repeat("a", 64), Size: 1, Manifest: manifest},
	} {
		if r := w.apply(root, cmd); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
	}
	r, err := w.client(runner, 0).Call(t.Context(), "create_execution",
		map[string]any{"folder_name": "F", "project_name": "P", "package_name": "p.sh"})
	if err != nil {
		t.Fatal(err)
	}
	id, _ := r.Int("execution_id")
	return id
}

// TestSynchronizedStartWaits: the call is held until the execution ends, across two changes of leader, and started
// once.
func TestSynchronizedStartWaits(t *testing.T) {
	w := newWorld(t, 3)
	id := w.execution(t)
	cl := w.client(runner, 1, 2, 0)
	if _, err := cl.Call(t.Context(), "set_execution_parameter_value", map[string]any{
		"execution_id": id, "object_type": 50, "parameter_name": "SYNCHRONIZED", "parameter_value": true,
	}); err != nil {
		t.Fatal(err)
	}
	proposed := make(chan struct{}, 10)
	f := func(env command.Envelope) error {
		if env.Kind == command.KindOf(&command.StartExecution{}) {
			proposed <- struct{}{}
		}
		return nil
	}
	for _, n := range w.nodes {
		n.propose.Store(&f)
	}
	done := make(chan error, 1)
	go func() {
		_, err := cl.Call(context.Background(), "start_execution", map[string]any{"execution_id": id})
		done <- err
	}()
	<-proposed
	waiting := func(leader int) {
		t.Helper()
		eventually(t, "the call is held by the leader", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.leader == leader && len(w.gens) > 0
		})
	}
	waiting(0)
	w.elect(2)
	waiting(2)
	w.elect(1)
	waiting(1)
	select {
	case err := <-done:
		t.Fatal("it did not wait:", err)
	default:
	}
	if _, err := w.client(root, 0).Call(t.Context(), "stop_operation", map[string]any{"operation_id": id}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(proposed) != 0 {
		t.Fatal("started more than once")
	}
	if e, _ := w.fsm.Reader().Execution(id); e.Status != catalog.Canceled {
		t.Fatal(e.Status)
	}
}

// TestRedeployBetweenTheDryRunAndTheCommand: the command names no version, so the newest one runs.
func TestRedeployBetweenTheDryRunAndTheCommand(t *testing.T) {
	w := newWorld(t, 1)
	w.execution(t)
	manifest, _ := command.PackManifest(command.Manifest{ID: "{x}",
		Packages: []command.Package{{Name: "p.sh", EntryPoint: true}}})
	deployed := false
	f := func(env command.Envelope) error {
		if env.Kind == command.KindOf(&command.CreateExecution{}) && !deployed {
			deployed = true
			w.apply(root, &command.DeployProject{Folder: "F", Project: "P", Blob: strings.Repeat("b", 64), Size: 1,
				Manifest: manifest})
		}
		return nil
	}
	w.nodes[0].propose.Store(&f)
	got, err := w.client(runner, 0).Call(t.Context(), "create_execution",
		map[string]any{"folder_name": "F", "project_name": "P", "package_name": "p.sh"})
	if err != nil || !deployed {
		t.Fatal(err, deployed)
	}
	id, _ := got.Int("execution_id")
	x, _ := w.fsm.Reader().Execution(id)
	if p, _ := w.fsm.Reader().Project("F", "P"); x == nil || x.Version != p.Version {
		t.Errorf("execution %d is of another version than %+v", id, p)
	}
}

// TestKeptOutputs: a kept answer is the first one.
func TestKeptOutputs(t *testing.T) {
	w := newWorld(t, 1)
	id := w.execution(t)
	cl := w.client(root, 0)
	blob, err := func() (string, error) {
		d, _, err := w.nodes[0].blobs.Store(t.Context(), strings.NewReader("not a project"), 100)
		return d, err
	}()
	if err != nil {
		t.Fatal(err)
	}
	_ = blob
	args := map[string]map[string]any{
		"create_folder":    {"folder_name": "kept"},
		"create_execution": {"folder_name": "F", "project_name": "P", "package_name": "p.sh"},
		"start_execution":  {"execution_id": id},
		"stop_operation":   {"operation_id": id},
		"delete_folder":    {"folder_name": "kept"},
		"enable_scaleout":  {},
	}
	for _, name := range []string{"create_folder", "create_execution", "start_execution", "stop_operation",
		"delete_folder", "enable_scaleout"} {
		first, err := cl.Call(t.Context(), name, args[name], client.WithKey("key-"+name))
		if err != nil {
			t.Fatal(name, err)
		}
		again, err := cl.Call(t.Context(), name, args[name], client.WithKey("key-"+name))
		if err != nil {
			t.Fatal(name, err)
		}
		if fmt.Sprint(first.ReturnValue, first.Output, first.Sets) != fmt.Sprint(again.ReturnValue, again.Output,
			again.Sets) {
			t.Errorf("%s: %+v, then %+v", name, first, again)
		}
	}
	// Every procedure has at most one output, and it is the id that its command makes: Results relies on it.
	for _, p := range procedure.All() {
		n := 0
		for _, par := range p.Parameters {
			if par.Output {
				n++
				if par.Type != sqltype.BigInt {
					t.Errorf("%s.%s is a %s", p.Name, par.Name, par.Type)
				}
			}
		}
		if n > 1 {
			t.Errorf("%s has %d outputs", p.Name, n)
		}
	}
}

func TestArguments(t *testing.T) {
	w := newWorld(t, 1)
	c, url := w.as(&root), w.nodes[0].srv.URL+"/v1/catalog/procedures/"
	for _, x := range []struct {
		procedure, body, code string
		status                int
		says                  string
	}{
		{"create_folder", `{"folder_name":7}`, "invalid_argument", 400, "folder_name"},
		{"create_folder", `{}`, "missing_parameter", 400, "folder_name"},
		{"create_folder", ``, "missing_parameter", 400, "folder_name"},
		{"create_folder", `{"folder_nam":"x"}`, "unknown_parameter", 400, "did you mean folder_name"},
		{"create_folder", `{"folder_name":"x","folder_name":"y"}`, "invalid_argument", 400, "twice"},
		{"create_folder", `{"folder_name":"x","FOLDER_NAME":"y"}`, "invalid_argument", 400, "twice"},
		{"create_folder", `{"folder_name":"x"}{}`, wire.CodeTrailingData, 400, "follows"},
		{"create_folder", `["x"]`, wire.CodeInvalidJSON, 400, "object"},
		{"create_folder", `{"folder_name":`, wire.CodeInvalidJSON, 400, "complete"},
		{"create_folder", `{"folder_name":` + strings.Repeat("[", 100), wire.CodeTooDeep, 400, "32"},
		{"create_foldr", `{}`, "procedure_not_found", 404, "create_folder"},
		{"catalog.create_folder", `{}`, "procedure_not_found", 404, "create_folder"},
		{"delete_folder", `{"folder_name":"none"}`, "folder_not_found", 404, "none"},
		{"start_execution", `{"execution_id":99}`, "execution_not_found", 404, "99"},
		{"start_execution", `{"execution_id":"99"}`, "execution_not_found", 404, "99"},
		{"start_execution", `{"execution_id":1.5}`, "invalid_argument", 400, "execution_id"},
		{"enable_worker_agent", `{"WorkerAgentId":"nope"}`, "invalid_argument", 400, "WorkerAgentId"},
		{"deploy_project", `{"folder_name":"F","project_name":"P","project_stream":{"blob":"xyz"}}`, "invalid_argument",
			400, "64"},
	} {
		g := do(t, c, "POST", url+x.procedure, x.body)
		if g.StatusCode != x.status || g.problem.Code != x.code || !strings.Contains(g.problem.Detail, x.says) {
			t.Errorf("%s %s: %d %s %q", x.procedure, x.body, g.StatusCode, g.problem.Code, g.problem.Detail)
		}
	}
	large := `{"folder_name":"` + strings.Repeat("x", callBody) + `"}`
	if g := do(t, c, "POST", url+"create_folder", large); g.StatusCode != 413 || g.problem.Code != wire.CodeBodyTooLarge {
		t.Error(g.StatusCode, g.body)
	}
	if n := w.fsm.Index(); n != 1 {
		t.Errorf("refused calls reached the log: index %d", n)
	}
}

func TestViewQueries(t *testing.T) {
	w := newWorld(t, 2)
	c := w.as(&root)
	for i := range 3 {
		w.apply(root, &command.CreateFolder{Name: fmt.Sprint("F", i)})
	}
	url := w.nodes[0].srv.URL + "/v1/catalog/views/"
	for query, want := range map[string]string{
		"folders?page_size=0":                       "page_size",
		"folders?page_size=1001":                    "page_size",
		"folders?page_size=x":                       "page_size",
		"folders?consistency=later":                 "consistency",
		"folders?order=name&order=folder_id":        "order",
		"folders?columns=name&columns=name":         "columns",
		"folders?columns=":                          "columns",
		"folders?columns=name,NAME":                 "name stands twice",
		"folders?columns=nam":                       "did you mean name?",
		"folders?name=a&NAME=b":                     "name is filtered twice",
		"folders?name.lt=a&name.lt=b":               "name is filtered twice",
		"folders?name.lte=a":                        "did you mean lt or le?",
		"folders?folder_id.like=1":                  "like does not compare a bigint column",
		"folders?name.like=[a":                      "a ] behind each [ was expected",
		"folders?" + strings.Repeat("name=a&", 101): "up to 100",
		"folders?no_column=1":                       "no_column",
		"folders?order=no_column":                   "no_column",
		"folders?folder_id=abc":                     "folder_id",
		"folders?page_token=junk":                   "page_token",
		"folder?":                                   "folders",
		"folders?consistency=stale&page_size=0":     "page_size",
		"folders?name=F1;order=name":                "semicolon",
		"folders?name=100%":                         "query string",
	} {
		g := do(t, c, "GET", url+query, "")
		if g.StatusCode != 400 && g.StatusCode != 404 || !strings.Contains(g.problem.Detail, want) {
			t.Errorf("%s: %d %s", query, g.StatusCode, g.body)
		}
	}
	var page wire.ViewAnswer
	g := do(t, c, "GET", url+"folders?order=-name&page_size=2", "")
	if err := json.Unmarshal([]byte(g.body), &page); err != nil || len(page.Rows) != 2 || page.NextPageToken == "" ||
		page.Index != 4 || g.Header.Get(wire.HeaderIndex) != "4" {
		t.Fatal(g.StatusCode, g.body)
	}
	if !strings.HasPrefix(string(page.Rows[0]), `{"folder_id":3,"name":"F2"`) {
		t.Fatal(string(page.Rows[0]))
	}
	// The answer names its columns also when it has no rows, and only those that were asked for.
	const id, name = `{"name":"folder_id","type":"bigint"}`, `{"name":"name","type":"sysname"}`
	for query, want := range map[string]string{
		"columns=name,folder_id&name=F1": `"columns":[` + name + `,` + id +
			`],"rows":[{"name":"F1","folder_id":2}]`,
		"columns=folder_id&name=none":              `"columns":[` + id + `],"rows":[]`,
		"columns=folder_id&name=f0&name=f2":        `"columns":[` + id + `],"rows":[{"folder_id":1},{"folder_id":3}]`,
		"columns=folder_id&folder_id.gt=1":         `"columns":[` + id + `],"rows":[{"folder_id":2},{"folder_id":3}]`,
		"columns=folder_id&name.like=_[1-2]":       `"columns":[` + id + `],"rows":[{"folder_id":2},{"folder_id":3}]`,
		"columns=folder_id&description.ne=null":    `"columns":[` + id + `],"rows":[]`,
		"columns=folder_id&folder_id.ne=2&name=F2": `"columns":[` + id + `],"rows":[{"folder_id":3}]`,
	} {
		t.Run(query, func(t *testing.T) {
			if g := do(t, c, "GET", url+"folders?"+query, ""); g.body != `{"index":4,`+want+"}\n" {
				t.Errorf("%d %s, want %s", g.StatusCode, g.body, want)
			}
		})
	}
	// Stale: the follower answers itself, even when nobody leads, and says how old it may be.
	w.elect(-1)
	g = do(t, c, "GET", w.nodes[1].srv.URL+"/v1/catalog/views/folders?consistency=stale", "")
	if g.StatusCode != 200 || g.Header.Get(wire.HeaderForwardedBy) != "" || g.Header.Get(wire.HeaderStale) != "-1" {
		t.Fatal(g.StatusCode, g.body, g.Header)
	}
	w.elect(0)
	g = do(t, c, "GET", w.nodes[1].srv.URL+"/v1/catalog/views/folders?consistency=stale", "")
	if g.StatusCode != 200 || g.Header.Get(wire.HeaderStale) == "" || g.Header.Get(wire.HeaderStale) == "-1" {
		t.Fatal(g.StatusCode, g.body, g.Header)
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t, 1)
	c := w.client(nobody, 0)
	views, err := c.Views(t.Context())
	if err != nil || len(views) != len(view.All()) || len(views[0].Columns) == 0 {
		t.Fatal(views, err)
	}
	procedures, err := c.Procedures(t.Context())
	if err != nil || len(procedures) != len(procedure.All()) {
		t.Fatal(err)
	}
	for _, p := range procedures {
		for _, par := range p.Parameters {
			if p.Name == "create_execution" && par.Name == "useanyworker" &&
				(string(par.Default) != "true" || par.Type != "bit") {
				t.Error(par)
			}
		}
	}
}

// TestMessagesSayWhetherTheyAreComplete: the answer for one operation does, and only to who may see the operation.
func TestMessagesSayWhetherTheyAreComplete(t *testing.T) {
	w := newWorld(t, 1)
	id := w.execution(t)
	look := func(cl *client.Client, equal map[string]any) *wire.MessagesState {
		t.Helper()
		page, err := cl.View(t.Context(), "operation_messages", client.Query{Equal: equal})
		if err != nil {
			t.Fatal(err)
		}
		return page.Messages
	}
	mine := w.client(runner, 0)
	if got := look(mine, map[string]any{"operation_id": id}); got == nil || *got != (wire.MessagesState{}) {
		t.Errorf("before its start: %+v", got)
	}
	if _, err := mine.Call(t.Context(), "stop_operation", map[string]any{"operation_id": id}); err != nil {
		t.Fatal(err)
	}
	if got := look(mine, map[string]any{"operation_id": id}); got == nil ||
		*got != (wire.MessagesState{Complete: true, Ended: true}) {
		t.Errorf("after its end: %+v", got)
	}
	if got := look(mine, nil); got != nil {
		t.Errorf("of all operations: %+v", got)
	}
	other := runner
	other.Name = "eve"
	if got := look(w.client(other, 0), map[string]any{"operation_id": id}); got != nil {
		t.Errorf("told to somebody else: %+v", got)
	}
}

// The secret of request keys is in the state; nothing that shows the state may show it.
func TestNoRouteShowsTheKeySecret(t *testing.T) {
	w := newWorld(t, 1)
	c, url := w.as(&root), w.nodes[0].srv.URL
	secret := w.fsm.Reader().KeySecret()
	paths := []string{"/v1/cluster", "/v1/cluster/state-hash", "/metrics", "/readyz", "/v1/events?follow=false",
		"/v1/status/leader"}
	for _, v := range view.All() {
		paths = append(paths, "/v1/catalog/views/"+v.Name)
	}
	for _, path := range paths {
		g := do(t, c, "GET", url+path, "")
		if g.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, g.StatusCode, g.body)
		}
		for _, form := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret)} {
			if strings.Contains(g.body, form) {
				t.Errorf("%s shows the secret", path)
			}
		}
	}
}
