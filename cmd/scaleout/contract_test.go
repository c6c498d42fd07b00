package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"scaleout/cmd/scaleout/show"
	"scaleout/httpapi/wire"
)

// happyMaster answers everything, with names that a person would give.
func happyMaster() *fakeMaster {
	answer := func(v any) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
	}
	until := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	member := wire.Member{ID: "6b1d0000", Name: "master-1", Address: "https://m1:8391", Role: wire.RoleVoter, Leader: true,
		Health: "healthy", Version: "1.2", CertificateNotAfter: &until}
	views := everyView("text", map[string]any{
		"execution_id": 17, "operation_id": 17, "task_id": 17, "status": 7, "tasks.status": "succeeded",
		"worker_agents.State": "online",
		"folders.name":        "ETL", "folder_name": "ETL", "projects.name": "Sales", "project_name": "Sales",
		"package_name":  "Load.dtsx",
		"packages.name": "Load.dtsx", "WorkerAgentId": "AA", "worker_agent_id": "AA", "DisplayName": "first",
		"CertificateName": "worker-1", "object_version_lsn": 3,
	})
	return &fakeMaster{
		views: views,
		call: func(c fakeCall) (map[string]any, *wire.Problem) {
			return map[string]map[string]any{
				"create_folder": {"folder_id": 7}, "create_execution": {"execution_id": 17}, "deploy_project": {"operation_id": 18},
			}[c.procedure], nil
		},
		pages: map[string]func(http.ResponseWriter, *http.Request){
			"/v1/cluster": answer(wire.ClusterStatus{ClusterID: "c", Members: []wire.Member{member},
				Warnings: []string{"w"}, Settings: []wire.SettingDifference{
					{Name: "PortNumber", Values: map[string]string{"master-1": "1"}}}}),
			"/v1/cluster/transfer-leadership": answer(wire.Leader{Name: "master-1", Address: "https://m1:8391", Term: 3}),
			"/v1/cluster/members/6b1d0000": func(w http.ResponseWriter,
				_ *http.Request) {
				w.WriteHeader(http.StatusNoContent)
			},
			"/v1/catalog/views": answer(wire.Views{
				Views: []wire.View{{Name: "executions", Columns: []wire.Column{{Name: "status"}}}}}),
			"/v1/catalog/procedures": answer(wire.Procedures{
				Procedures: []wire.Procedure{{Schema: "catalog", Name: "create_folder", Aliases: []string{},
					Roles: []string{"ssis_admin"}, Returns: []wire.ReturnCode{{Doc: "it is done"}},
					ResultSets: [][]wire.Column{}, Codes: []string{"folder_exists"},
					Parameters: []wire.ProcedureParameter{{Name: "folder_name"}}}}}),
			"/v1/events": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				b, _ := json.Marshal(wire.Event{ID: "1.0", Type: "execution_ended", Time: time.Unix(1, 0),
					Name: "ETL/Sales/Load.dtsx", Execution: 17, Status: 7, Worker: "AA"})
				fmt.Fprintf(w, "id: 1.0\nevent: execution_ended\ndata: %s\n\n", b)
			},
		},
	}
}

// shape is the names and types of a JSON value, a line for each.
func shape(path string, v any, out map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			shape(path+"."+k, x, out)
		}
		if len(v) == 0 {
			out[path+" object"] = true
		}
	case []any:
		for _, x := range v {
			shape(path+"[]", x, out)
		}
		if len(v) == 0 {
			out[path+" array"] = true
		}
	case nil:
		out[path+" null"] = true
	default:
		out[fmt.Sprintf("%s %s", path, map[string]string{"float64": "number", "bool": "boolean",
			"string": "string"}[fmt.Sprintf("%T", v)])] = true
	}
}

// -o json is a contract: documented names of columns, fields of the wire, and what is added beside them. Nothing of it
// goes or gets another type; what is new is added to the golden file with 'go test ./cmd/scaleout -update'.
func TestJSONIsAContract(t *testing.T) {
	dir := t.TempDir()
	project := filepath.Join(dir, "Sales.ispac")
	certs := filepath.Join(dir, "u")
	ca := filepath.Join(dir, "ca")
	settings := writeFile(t, "worker.json", goodWorker)
	lines := [][]string{
		{"project", "pack", "sample", "--out", project},
		{"project", "deploy", project, "--folder", "ETL", "--name", "Sales", "--create-folder"},
		{"folder", "list"}, {"folder", "create", "ETL"}, {"folder", "delete", "ETL"},
		{"project", "list"}, {"project", "packages", "ETL/Sales"}, {"project", "parameters", "ETL/Sales"},
		{"project", "versions", "ETL/Sales"}, {"project", "delete", "ETL/Sales"},
		{"execution", "list"}, {"execution", "show", "17"}, {"execution", "logs", "17"}, {"execution", "why", "17"},
		{"execution", "wait", "17"},
		{"execution", "start", "17"}, {"execution", "stop", "17"}, {"execution", "create", "ETL/Sales/Load.dtsx"},
		{"execution", "run", "ETL/Sales/Load.dtsx"}, {"execution", "run", "ETL/Sales/Load.dtsx", "--wait"},
		{"worker", "list"}, {"worker", "show", "worker-1"}, {"worker", "enable", "worker-1"},
		{"worker", "disable", "worker-1"}, {"worker", "remove", "worker-1"},
		{"cluster", "status"}, {"cluster", "members"}, {"cluster", "leave", "master-1"},
		{"cluster", "transfer-leadership", "master-1"},
		{"catalog", "views"}, {"catalog", "procedures"}, {"catalog", "view", "folders"},
		{"catalog", "call", "create_folder", "folder_name=x"},
		{"events"}, {"version"}, {"config", "check", settings},
		{"ca", "init", ca}, {"ca", "issue", "user", "alice", "--ca", ca, "--out", certs, "--role", "ssis_admin"},
		{"ca", "list", "--ca", ca, certs},
	}
	var got []string
	f := happyMaster()
	for _, args := range lines {
		name := strings.Join(args[:min(len(args), 2)], " ")
		if slices.Contains(args, "--wait") {
			name += " --wait"
		}
		code, out, errs := f.on(t, show.Screen{}, append(slices.Clone(args), "-o", "json")...)
		if code != exitOK {
			t.Errorf("%v: code %d: %s", args, code, errs)
			continue
		}
		found := map[string]bool{}
		n := 0
		for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); n++ {
			var v any
			if err := dec.Decode(&v); err != nil {
				t.Fatalf("%v: %v in %s", args, err, out)
			}
			shape("", v, found)
		}
		if n == 0 {
			t.Errorf("%v printed nothing", args)
		}
		for line := range found {
			got = append(got, name+": "+line)
		}
	}
	sort.Strings(got)
	text := []byte(strings.Join(got, "\n") + "\n")
	golden := filepath.Join("testdata", "json.txt")
	if *update {
		if err := os.WriteFile(golden, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(want, text) {
		return
	}
	had := strings.Split(strings.TrimSpace(string(want)), "\n")
	for _, line := range had {
		if !slices.Contains(got, line) {
			t.Errorf("gone: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(had, line) {
			t.Errorf("new:  %s", line)
		}
	}
}

// A verb that changes something says what it did.
func TestResultsSayWhatWasDone(t *testing.T) {
	dir := t.TempDir()
	project := filepath.Join(dir, "Sales.ispac")
	f := happyMaster()
	for _, c := range []struct {
		line, want string
	}{
		{"project pack sample --out " + project, "packed 4 packages of SampleETL into " + project + "\n"},
		{"project deploy " + project + " --folder ETL --name Sales", "deployed Sales 1.0 to ETL, 4 packages, version 3\n"},
		{"folder create ETL", "created folder ETL\n"},
		{"folder delete ETL", "deleted folder ETL\n"},
		{"project delete ETL/Sales", "deleted project ETL/Sales\n"},
		{"execution create ETL/Sales/Load.dtsx", "created execution 17 of ETL/Sales/Load.dtsx\n"},
		{"execution run ETL/Sales/Load.dtsx", "started execution 17 of ETL/Sales/Load.dtsx\n"},
		{"execution start 17", "started execution 17\n"},
		{"execution stop 17", "told execution 17 to stop\n"},
		{"worker enable worker-1", "enabled worker-1: it takes tasks\n"},
		{"worker disable worker-1", "disabled worker-1: it takes nothing new, what it runs finishes\n"},
		{"worker remove worker-1", "removed worker-1\n"},
		{"cluster leave master-1", "master-1 is no member any more; to come back it must start with an empty " +
			"data directory.\n"},
		{"cluster transfer-leadership master-1", "master-1 leads, term 3, at https://m1:8391\n"},
	} {
		t.Run(c.line, func(t *testing.T) {
			if code, out, errs := f.on(t, show.Screen{}, strings.Fields(c.line)...); code != exitOK || out != c.want {
				t.Errorf("%d %q, want %q %s", code, out, c.want, errs)
			}
		})
	}
}
