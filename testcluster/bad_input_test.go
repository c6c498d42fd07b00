package testcluster_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/fsm/ispac"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// picture is everything that a caller's input could have changed.
func (s *scriptProject) picture() string {
	s.t.Helper()
	var out strings.Builder
	for _, view := range []string{"folders", "projects", "object_versions", "packages", "object_parameters", "executions",
		"execution_parameter_values", "operations", "tasks", "worker_agents", "catalog_properties"} {
		for _, r := range s.rows(view, nil) {
			for _, moving := range []string{"LastOnlineTime", "State", "reason", "reason_text", "lease_until"} {
				delete(r, moving)
			}
			raw, err := json.Marshal(r)
			if err != nil {
				s.t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s %s\n", view, raw)
		}
	}
	return out.String()
}

// Every master answers bad input with a specific error, and bad input changes nothing.
func TestBadInput(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, onceScript)
	c.Deploy("F", "Typed", map[string]string{"t.sh": ""}, ispac.ParameterDefinition{Name: "Count", Type: "Int32"})
	c.Deploy("F", "Renewed", map[string]string{"once.sh": ""})
	h, other := c.Controller("mine", time.Minute, time.Minute), c.Controller("theirs", time.Minute, time.Minute)
	held := s.startOn("once.sh", 0, other.ID)
	if a, err := other.Exchange(t.Context(), 5*time.Second, 1, nil); err != nil || len(a.Grants) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	started, stopped, stale := s.startOn("once.sh", 0, h.ID), c.Create("F/P/once.sh", nil),
		c.Create("F/Renewed/once.sh", nil)
	typed, chosen := c.Create("F/Typed/t.sh", nil), s.call("create_execution", map[string]any{
		"folder_name": "F", "project_name": "P", "package_name": "once.sh", "useanyworker": false})
	none, _ := chosen.Int("execution_id")
	s.call("stop_operation", map[string]any{"operation_id": stopped})
	c.Deploy("F", "Renewed", map[string]string{"once.sh": "true"})

	admin, mine := c.As(pki.RoleUser, "admin", "ssis_admin"), c.As(pki.RoleWorker, "mine")
	plain := c.As(pki.RoleUser, "plain")
	const call = "/v1/catalog/procedures/"
	create := func(folder, project, pkg string) string {
		return fmt.Sprintf(`{"folder_name":%q,"project_name":%q,"package_name":%q}`, folder, project, pkg)
	}
	exec := func(id int64) string { return fmt.Sprintf(`{"execution_id":%d}`, id) }
	exchange := func(more string) string {
		return fmt.Sprintf(`{"instance":%q,"sequence":1,"wait_ms":0,"slots":0,"running":[],"ended":[]%s}`, h.Incarnation(),
			more)
	}
	const nobody = "77777777-7777-7777-7777-777777777777"
	cases := []struct {
		what         string
		who          *http.Client
		method, path string
		body         string
		status       int
		code         string
		says         string
	}{
		{"unknown folder", admin, "POST", call + "create_execution", create("Nowhere", "P", "once.sh"), 404,
			"folder_not_found", "Nowhere"},
		{"unknown project", admin, "POST", call + "create_execution", create("F", "Nothing", "once.sh"), 404,
			"project_not_found", "Nothing"},
		{"unknown package", admin, "POST", call + "create_execution", create("F", "P", "none.sh"), 404, "package_not_found",
			"none.sh"},
		{"unknown execution", admin, "POST", call + "start_execution", exec(987654), 404, "execution_not_found", "987654"},
		{"unknown operation", admin, "POST", call + "stop_operation", `{"operation_id":987654}`, 404, "operation_not_found",
			"987654"},
		{"unknown worker", admin, "POST", call + "enable_worker_agent", `{"WorkerAgentId":"` + nobody + `"}`, 404,
			"worker_not_found", nobody},
		{"unknown worker for an execution", admin, "POST", call + "add_execution_worker",
			fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, none, nobody), 404, "worker_not_found", nobody},
		{"unknown procedure", admin, "POST", call + "create_executions", `{}`, 404, "procedure_not_found",
			"create_executions"},
		{"unknown view", admin, "GET", "/v1/catalog/views/execution", "", 404, "view_not_found", "execution"},
		{"unknown column", admin, "GET", "/v1/catalog/views/executions?colour=red", "", 400, "unknown_column", "colour"},
		{"wrong type", admin, "POST", call + "start_execution", `{"execution_id":"many"}`, 400, "invalid_argument",
			"execution_id"},
		{"wrong type of a value", admin, "POST", call + "set_execution_parameter_value",
			fmt.Sprintf(`{"execution_id":%d,"object_type":20,"parameter_name":"Count","parameter_value":"several"}`, typed), 400,
			"invalid_argument", "Count"},
		{"out of range", admin, "POST", call + "start_execution", fmt.Sprintf(`{"execution_id":%d,"retry_count":101}`, typed),
			400, "invalid_argument", "101"},
		{"missing parameter", admin, "POST", call + "start_execution", `{}`, 400, "missing_parameter", "execution_id"},
		{"unknown parameter", admin, "POST", call + "start_execution", `{"execution_id":1,"colour":"red"}`, 400,
			"unknown_parameter", "colour"},
		{"unknown project parameter", admin, "POST", call + "set_execution_parameter_value",
			fmt.Sprintf(`{"execution_id":%d,"object_type":20,"parameter_name":"Colour","parameter_value":1}`, typed), 404,
			"parameter_not_found", "Colour"},
		{"start twice", admin, "POST", call + "start_execution", exec(started), 409, "already_started", ""},
		{"start after redeploy", admin, "POST", call + "start_execution", exec(stale), 409, "project_redeployed", "Renewed"},
		{"start without workers", admin, "POST", call + "start_execution", exec(none), 409, "no_worker_selected", ""},
		{"stop twice", admin, "POST", call + "stop_operation", fmt.Sprintf(`{"operation_id":%d}`, stopped), 409,
			"already_stopped", ""},
		{"start after stop", admin, "POST", call + "start_execution", exec(stopped), 409, "already_started", ""},
		{"a body over the limit", admin, "POST", call + "create_folder", `{"folder_name":"X","padding":"` +
			strings.Repeat("x", 17<<20) + `"}`, 413, "body_too_large", ""},
		{"no JSON", admin, "POST", call + "create_folder", `{"folder_name":`, 400, "invalid_json", ""},
		{"two values", admin, "POST", call + "create_folder", `{"folder_name":"X"}{}`, 400, "trailing_data", ""},
		{"unknown JSON field", mine, "POST", "/v1/workers/" + h.ID + "/exchange", exchange(`,"colour":1`), 400,
			"unknown_field", "colour"},
		{"wrong method", admin, "DELETE", call + "create_folder", "", 405, "method_not_allowed", ""},
		{"unknown path", admin, "GET", "/v1/nothing", "", 404, "not_found", ""},
		{"no certificate", c.Nobody(), "POST", call + "create_folder", `{"folder_name":"X"}`, 401, "certificate_required",
			""},
		{"another cluster's certificate", c.Stranger(), "POST", call + "create_folder", `{"folder_name":"X"}`, 403,
			"unknown_cluster", ""},
		{"a worker at an administrator's route", mine, "POST", call + "create_folder", `{"folder_name":"X"}`, 403,
			"forbidden", ""},
		{"a user at a worker's route", admin, "POST", "/v1/workers/" + h.ID + "/exchange", exchange(""), 403, "forbidden",
			""},
		{"a user without the role", plain, "POST", call + "create_folder", `{"folder_name":"X"}`, 403, "permission_denied",
			""},
		{"a user without the role at the cluster's route", plain, "POST", "/v1/cluster/transfer-leadership", "", 403,
			"permission_denied", ""},
		{"a worker speaking for another", mine, "POST", "/v1/workers/" + other.ID + "/exchange", exchange(""), 403,
			"agent_id_taken", ""},
		{"a worker's messages for another", mine, "POST", "/v1/workers/" + other.ID + "/messages",
			fmt.Sprintf(`{"instance":%q,"items":[]}`, h.Incarnation()), 403, "agent_id_taken", ""},
		{"messages of another worker's task", mine, "POST", "/v1/workers/" + h.ID + "/messages",
			fmt.Sprintf(`{"instance":%q,"items":[{"task_id":%d,"attempt":1,"first_seq":1,"messages":[{"time":"2026-01-02T03:04:05Z","type":70,"source_type":20,"text":"x"}]}]}`, h.Incarnation(), held),
			409, "fenced", ""},
		// A worker must learn that no master will ever take these messages: otherwise they would block all its other
		// messages.
		{"messages of a task that does not exist", mine, "POST", "/v1/workers/" + h.ID + "/messages",
			fmt.Sprintf(`{"instance":%q,"items":[{"task_id":987654,"attempt":1,"first_seq":1,"messages":[{"time":"2026-01-02T03:04:05Z","type":70,"source_type":20,"text":"x"}]}]}`, h.Incarnation()),
			409, "fenced", "987654"},
		{"a gap in messages", c.As(pki.RoleWorker, "theirs"), "POST", "/v1/workers/" + other.ID + "/messages",
			fmt.Sprintf(`{"instance":%q,"items":[{"task_id":%d,"attempt":1,"first_seq":5,"messages":[{"time":"2026-01-02T03:04:05Z","type":70,"source_type":20,"text":"x"}]}]}`, other.Incarnation(), held),
			409, "gap", ""},
		{"an unknown worker", mine, "POST", "/v1/workers/" + nobody + "/exchange", exchange(""), 404, "worker_not_registered",
			nobody},
		{"no worker id", mine, "POST", "/v1/workers/me/exchange", exchange(""), 400, "invalid_argument", "me"},
		{"an old process", mine, "POST", "/v1/workers/" + h.ID + "/exchange",
			strings.Replace(exchange(""), h.Incarnation(), "another", 1), 409, "instance_replaced", ""},
		{"a blob that is not what it says", admin, "PUT", "/v1/blobs/" + strings.Repeat("0", 64), "text", 422,
			"digest_mismatch", ""},
		{"a project that is none", admin, "POST", call + "deploy_project",
			`{"folder_name":"F","project_name":"Q","project_stream":"AAAA"}`, 400, "invalid_project", ""},
		{"a project of another name", admin, "POST", call + "deploy_project",
			`{"folder_name":"F","project_name":"Q","project_stream":{"blob":"` + strings.Repeat("a", 64) + `"}}`, 404,
			"blob_not_found", ""},
	}
	before := s.picture()
	leader := c.Leader()
	for _, at := range []int{leader, c.Others(leader)[0]} {
		for _, k := range cases {
			status, p, err := send(k.who, k.method, "https://"+c.Address(at)+k.path, k.body)
			switch {
			case err != nil:
				t.Errorf("%s: %v", k.what, err)
			case status != k.status || p.Code != k.code || p.Status != k.status:
				t.Errorf("%s: %d %q (%s), want %d %q", k.what, status, p.Code, p.Detail, k.status, k.code)
			case !strings.Contains(strings.ToLower(p.Detail), strings.ToLower(k.says)):
				t.Errorf("%s: %q does not name %q", k.what, p.Detail, k.says)
			case p.RequestID == "":
				t.Errorf("%s: no request id", k.what)
			}
		}
		if at != leader {
			continue
		}
		// The answer fences a report on another worker's task, item by item, and the rest of the exchange is processed.
		a, err := h.Exchange(t.Context(), 0, 0, []wire.AttemptRef{{TaskID: held, Attempt: 1}})
		if err != nil || len(a.Fenced) != 1 || len(a.Renewed) != 0 {
			t.Errorf("running another worker's task: %+v, %v", a, err)
		}
		a, err = h.Exchange(t.Context(), 0, 0, nil, wire.Ended{TaskID: held, Attempt: 1, Outcome: wire.OutcomeSucceeded})
		if err != nil || len(a.Fenced) != 1 || len(a.Settled) != 0 {
			t.Errorf("reporting another worker's task: %+v, %v", a, err)
		}
	}
	if after := s.picture(); after != before {
		t.Errorf("bad input changed the catalog.\nbefore:\n%s\nafter:\n%s", before, after)
	}
}

// send sends a request and reads the problem in its answer.
func send(who *http.Client, method, url, body string) (int, wire.Problem, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, wire.Problem{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := who.Do(req)
	if err != nil {
		return 0, wire.Problem{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, wire.Problem{}, err
	}
	var p wire.Problem
	if err := json.Unmarshal(raw, &p); err != nil {
		return resp.StatusCode, p, fmt.Errorf("%d with %.200s: %w", resp.StatusCode, raw, err)
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, wire.ContentProblem) {
		return resp.StatusCode, p, fmt.Errorf("the content is %s", kind)
	}
	return resp.StatusCode, p, nil
}
