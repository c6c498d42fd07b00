package view_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/view"
)

// memory is what a leader remembers, fixed.
type memory struct {
	contact, until time.Time
	reasons        map[int64]string
	workers        map[string]view.WorkerNow
}

func (m memory) Worker(id string) (view.WorkerNow, bool) {
	now, ok := m.workers[id]
	return now, ok
}

func (m memory) Reason(id int64) (string, []string, bool) {
	code, ok := m.reasons[id]
	return code, []string{"m1 (2/2)", "+3"}, ok
}
func (m memory) LastContact(string) (time.Time, bool)            { return m.contact, !m.contact.IsZero() }
func (m memory) LeaseUntil(command.AttemptRef) (time.Time, bool) { return m.until, !m.until.IsZero() }

func TestMasterPropertiesBeforeAnyHeartbeat(t *testing.T) {
	for _, row := range fsmtest.NewWorld(t).Query(fsmtest.Someone, "master_properties", view.Request{}) {
		if row["property_value"] != nil {
			t.Errorf("%v", row)
		}
	}
}

// Three views of what the masters are: name and value in one text, in the order of the rows.
func TestMasterViews(t *testing.T) {
	w := fsmtest.NewWorld(t)
	at := command.At(time.Date(2024, 5, 1, 12, 0, 0, 123456700, time.UTC))
	w.Must(command.Caller{Kind: "master", Name: "m1"}, &command.Beat{Masters: []command.MasterBeat{
		{ID: "n2", Name: "master-2", Address: "https://b:8391", Port: 8391, LastOnline: at},
		{ID: "n1", Name: "master-1", Address: "https://a:8393", Machine: "a", IP: "10.0.0.1", Port: 8393, Thumbprint: "AB12",
			Version: "1.2", Level: 1, Instance: "PROD", Leader: true, LastOnline: at},
	}})
	for _, c := range []struct {
		view, order string
		caller      command.Caller
		columns     []string
		all         bool // else the view may have more rows
		want        []string
	}{
		{"master_properties", "", fsmtest.Someone, []string{"property_name", "property_value"}, true, []string{
			"CLUSTER_LOGDB_SERVER PROD", "LAST_ONLINE_TIME 2024-05-01T12:00:00.1234567Z", "MACHINE_IP 10.0.0.1",
			"MACHINE_NAME a", "MASTER_ADDRESS https://a:8393", "MASTER_SERVICE_PORT 8393", "SSLCERT_THUMBPRINT AB12"}},
		{"master_nodes", "-name", fsmtest.Someone, []string{"node_id", "is_leader", "machine_name"}, true, []string{
			"n2 false <nil>", "n1 true a"}},
		{"catalog_properties", "", fsmtest.Alice, []string{"property_name", "property_value"}, false, []string{
			"DEFAULT_EXECUTION_MODE 1", "IS_SCALEOUT_ENABLED True", "RETENTION_WINDOW 365", "MAX_PROJECT_VERSIONS 10"}},
	} {
		t.Run(c.view, func(t *testing.T) {
			var got []string
			for _, row := range w.Query(c.caller, c.view, view.Request{Order: c.order}) {
				var texts []string
				for _, column := range c.columns {
					texts = append(texts, fmt.Sprint(row[column]))
				}
				got = append(got, strings.Join(texts, " "))
			}
			if c.all && !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("%q is not in %q", want, got)
				}
			}
		})
	}
}

func TestWorkerAgents(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Register(fsmtest.WorkerOne, "m1")
	w.Register(fsmtest.WorkerTwo, "m2")
	one := view.Request{Where: fsmtest.Where("workeragentid", strings.ToLower(fsmtest.WorkerOne))}
	stored := w.Query(fsmtest.Bob, "worker_agents", one)[0]["LastOnlineTime"]
	if stored == nil {
		t.Fatal("the state does not know when the worker was online")
	}
	now := func(n view.WorkerNow) memory { return memory{workers: map[string]view.WorkerNow{fsmtest.WorkerOne: n}} }
	for _, c := range []struct {
		name string
		live view.Live // what the leader remembers; nil: this master does not lead
		want map[string]any
	}{
		{"what the state has", nil, map[string]any{"WorkerAgentId": fsmtest.WorkerOne, "MachineName": "m1",
			"UserAccount": "svc", "Tags": nil, "MaxTaskCount": json.Number("2"), "State": nil, "RunningTasks": nil}},
		{"the leader has heard from it since", memory{contact: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)},
			map[string]any{"LastOnlineTime": "2030-01-02T03:04:05.0000000Z"}},
		{"the leader's memory is older than the state", memory{contact: time.Unix(1, 0)},
			map[string]any{"LastOnlineTime": stored}},
		{"the leader does not know it", memory{}, map[string]any{"State": nil, "RunningTasks": nil}},
		{"online", now(view.WorkerNow{Online: true, Running: 2}),
			map[string]any{"State": "online", "RunningTasks": json.Number("2")}},
		{"draining", now(view.WorkerNow{Online: true, Draining: true, Running: 1}),
			map[string]any{"State": "draining", "RunningTasks": json.Number("1")}},
		{"silent", now(view.WorkerNow{}), map[string]any{"State": "silent", "RunningTasks": json.Number("0")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.Live = c.live
			rows := w.Query(fsmtest.Bob, "worker_agents", one)
			if len(rows) != 1 {
				t.Fatalf("%d rows of one worker", len(rows))
			}
			for column, want := range c.want {
				if rows[0][column] != want {
					t.Errorf("%s is %v, want %v", column, rows[0][column], want)
				}
			}
		})
	}
	w.Live = nil
	if rows := w.Query(fsmtest.Bob, "worker_agents", view.Request{Order: "-MachineName"}); len(rows) != 2 ||
		rows[0]["MachineName"] != "m2" {
		t.Errorf("by machine, the last first: %v", rows)
	}
}

func TestProjectViews(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Deploy(fsmtest.Project("weekly"))
	w.Deploy(fsmtest.Project("nightly"))
	folder := w.Query(fsmtest.Bob, "folders", view.Request{Where: fsmtest.Where("name", "etl")})[0]
	project := w.Query(fsmtest.Bob, "projects", view.Request{Where: fsmtest.Where("name", "NIGHTLY")})[0]
	if project["last_deployed_time"] == project["created_time"] {
		t.Errorf("deployed twice, and last when it was created: %v", project)
	}
	id := fmt.Sprint(project["project_id"])
	for _, c := range []struct {
		name, view, order string
		where             []string
		want              []map[string]any // some columns of each row
	}{
		{"a folder", "folders", "", []string{"name", "etl"}, []map[string]any{
			{"name": "ETL", "created_by_name": "alice", "description": nil}}},
		{"projects of a folder", "projects", "name", []string{"folder_id", fmt.Sprint(folder["folder_id"])},
			[]map[string]any{{"name": "nightly", "description": "nightly"}, {"name": "weekly"}}},
		{"versions of a project", "object_versions", "", []string{"object_id", id}, []map[string]any{
			{"object_type": json.Number("20")}, {"object_version_lsn": project["object_version_lsn"]}}},
		{"packages of a project", "packages", "", []string{"project_id", id}, []map[string]any{
			{"name": "Load.dtsx", "entry_point": true, "package_guid": "AAAAAAAA-0000-4000-8000-000000000002",
				"version_build": json.Number("3")},
			{"entry_point": false}}},
		{"a filter on a sql_variant", "object_parameters", "", []string{"design_default_value", "1.5", "project_id", id},
			[]map[string]any{{"parameter_name": "Ratio"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := w.Query(fsmtest.Bob, c.view, view.Request{Order: c.order, Where: fsmtest.Where(c.where...)})
			if len(rows) != len(c.want) {
				t.Fatalf("%d rows, want %d: %v", len(rows), len(c.want), rows)
			}
			for i, want := range c.want {
				for column, value := range want {
					if rows[i][column] != value {
						t.Errorf("row %d: %s is %v, want %v", i, column, rows[i][column], value)
					}
				}
			}
		})
	}
}

func TestObjectParameters(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("weekly"))
	w.Deploy(fsmtest.Project("nightly"))
	project := w.Query(fsmtest.Bob, "projects", view.Request{Where: fsmtest.Where("name", "nightly")})[0]
	seen := map[any]bool{}
	defaults := map[string]any{}
	for _, row := range w.Query(fsmtest.Bob, "object_parameters", view.Request{}) {
		if seen[row["parameter_id"]] {
			t.Errorf("parameter_id %v stands twice", row["parameter_id"])
		}
		seen[row["parameter_id"]] = true
		if row["project_id"] == project["project_id"] {
			defaults[fmt.Sprint(row["object_type"], row["object_name"], ".", row["parameter_name"], " ",
				row["data_type"])] = row["design_default_value"]
		}
	}
	want := map[string]any{
		"20nightly.Server String": "db1", "20nightly.Secret String": nil, "20nightly.Batch Int32": json.Number("7"),
		"20nightly.CM.db.ConnectionString String": "Data Source=.", "20nightly.CM.db.Password String": nil,
		"30Load.dtsx.LoadDate DateTime": "1900-01-01T00:00:00", "30Load.dtsx.Ratio Decimal": json.Number("1.5"),
		"30Load.dtsx.Flag Boolean": true,
		"30Load.dtsx.Level Byte":   nil, "30Load.dtsx.Pin Int32": nil,
		"30Load.dtsx.Big UInt64": json.Number("18446744073709551615"),
	}
	for parameter, value := range want {
		if got, ok := defaults[parameter]; !ok || got != value {
			t.Errorf("%s has the default %v, want %v", parameter, got, value)
		}
	}
	if len(defaults) != len(want) {
		t.Errorf("%d parameters, want %d: %v", len(defaults), len(want), defaults)
	}
}

func ids(rows []map[string]any, column string) string {
	var list []string
	for _, row := range rows {
		list = append(list, fmt.Sprint(row[column]))
	}
	return strings.Join(list, " ")
}

func TestExecutionViews(t *testing.T) {
	w := fsmtest.NewWorld(t)
	deployed := fmt.Sprint(w.Deploy(fsmtest.Project("nightly")).Outputs["operation_id"]) // 1
	w.Register(fsmtest.WorkerOne, "m1")
	created := w.Create(fsmtest.Bob, "") // 2
	failed := w.Started(fsmtest.Carol)   // 3
	w.Grant(failed, 1, fsmtest.WorkerOne, "m1")
	w.Report(failed, 1, fsmtest.WorkerOne, "m1", command.Failed, 7)
	done := w.Started(fsmtest.Bob) // 4
	w.Grant(done, 1, fsmtest.WorkerOne, "m1")
	w.Report(done, 1, fsmtest.WorkerOne, "m1", command.Succeeded, 0)
	w.Deploy(fsmtest.Project("weekly"))                                // 5
	running, pending := w.Started(fsmtest.Bob), w.Started(fsmtest.Bob) // 6 7
	w.Grant(running, 1, fsmtest.WorkerOne, "m1")
	if deployed != "1" || created != 2 || pending != 7 {
		t.Fatal("the ids are not what the test says")
	}
	query := func(caller command.Caller, name, order string, filter ...string) []map[string]any {
		return w.Query(caller, name, view.Request{Order: order, PageSize: 2, Where: fsmtest.Where(filter...)})
	}
	for _, c := range []struct {
		caller      command.Caller
		view, order string
		filter      []string
		want        string
	}{
		{fsmtest.Alice, "executions", "", nil, "2 3 4 6 7"},
		{fsmtest.Alice, "executions", "-execution_id", nil, "7 6 4 3 2"},
		{fsmtest.Alice, "executions", "created_time,-execution_id", nil, "2 3 4 6 7"},
		{fsmtest.Alice, "executions", "-created_time", nil, "7 6 4 3 2"},
		{fsmtest.Alice, "executions", "status,-execution_id", nil, "2 6 3 7 4"},
		{fsmtest.Alice, "executions", "", []string{"status", "4"}, "3"},
		{fsmtest.Alice, "executions", "-execution_id", []string{"status", "5"}, "7"},
		{fsmtest.Alice, "executions", "", []string{"status", "7"}, "4"},
		{fsmtest.Alice, "executions", "", []string{"execution_id", "4"}, "4"},
		{fsmtest.Alice, "executions", "", []string{"execution_id", "1"}, ""},
		{fsmtest.Alice, "executions", "-execution_id", []string{"object_id", "1"}, "7 6 4 3 2"},
		{fsmtest.Alice, "executions", "", []string{"object_id", "2"}, ""},
		{fsmtest.Alice, "executions", "-execution_id", []string{"folder_name", "etl", "project_name", "nightly"},
			"7 6 4 3 2"},
		{fsmtest.Alice, "executions", "", []string{"worker_agent_id", fsmtest.WorkerOne}, "3 4 6"},
		{fsmtest.Alice, "executions", "", []string{"worker_agent_id", "null", "status", "5"}, "7"},
		{fsmtest.Bob, "executions", "", nil, "2 4 6 7"},
		{fsmtest.Carol, "executions", "", nil, "3"},
		{fsmtest.Carol, "executions", "", []string{"execution_id", "4"}, ""},
		{fsmtest.Rita, "executions", "", nil, "2 3 4 6 7"},
		{fsmtest.Alice, "operations", "", nil, "1 2 3 4 5 6 7"},
		{fsmtest.Alice, "operations", "-operation_id", nil, "7 6 5 4 3 2 1"},
		{fsmtest.Alice, "operations", "-created_time", []string{"operation_type", "101"}, "5 1"},
		{fsmtest.Alice, "operations", "", []string{"operation_type", "200"}, "2 3 4 6 7"},
		{fsmtest.Alice, "operations", "", []string{"operation_id", "5"}, "5"},
		{fsmtest.Alice, "operations", "", []string{"operation_id", "4"}, "4"},
		{fsmtest.Alice, "operations", "", []string{"status", "7"}, "1 4 5"},
		{fsmtest.Alice, "operations", "", []string{"status", "4"}, "3"},
		{fsmtest.Bob, "operations", "-operation_id", nil, "7 6 4 2"},
		{fsmtest.Alice, "tasks", "", nil, "3 4 6 7"},
		{fsmtest.Alice, "tasks", "-task_id", nil, "7 6 4 3"},
		{fsmtest.Alice, "tasks", "", []string{"status", "failed"}, "3"},
		{fsmtest.Alice, "tasks", "", []string{"execution_id", "6"}, "6"},
		{fsmtest.Carol, "tasks", "", nil, "3"},
		{fsmtest.Alice, "executions", "", []string{"status", "5", "status", "2"}, "6 7"},
		{fsmtest.Alice, "executions", "-execution_id", []string{"status", "4", "status", "6"}, "3"},
		{fsmtest.Alice, "executions", "-execution_id", []string{"status", "4", "status", "7"}, "4 3"},
		{fsmtest.Alice, "executions", "", []string{"status.ne", "7", "execution_id.gt", "2"}, "3 6 7"},
		{fsmtest.Alice, "executions", "-execution_id", []string{"execution_id", "3", "execution_id", "7"}, "7 3"},
		{fsmtest.Alice, "executions", "-execution_id", []string{"execution_id.ge", "3", "execution_id.lt", "7"}, "6 4 3"},
		{fsmtest.Alice, "executions", "", []string{"object_id", "2", "object_id", "1"}, "2 3 4 6 7"},
		{fsmtest.Alice, "executions", "", []string{"end_time.ne", "null"}, "3 4"},
		{fsmtest.Alice, "executions", "", []string{"caller_name.like", "C%"}, "3"},
		{fsmtest.Bob, "executions", "", []string{"execution_id.le", "4"}, "2 4"},
		{fsmtest.Alice, "operations", "-operation_id", []string{"operation_id", "1", "operation_id", "6"}, "6 1"},
		{fsmtest.Alice, "operations", "", []string{"operation_id.gt", "4", "operation_type.ne", "200"}, "5"},
		{fsmtest.Alice, "operations", "", []string{"status", "2", "status", "5"}, "6 7"},
		{fsmtest.Alice, "tasks", "-task_id", []string{"execution_id", "3", "task_id", "6", "task_id", "3"}, "3"},
		{fsmtest.Alice, "tasks", "-task_id", []string{"execution_id.lt", "7", "task_id.gt", "3"}, "6 4"},
	} {
		column := map[string]string{"executions": "execution_id", "operations": "operation_id", "tasks": "task_id"}[c.view]
		t.Run(fmt.Sprintf("%s of %s by %q where %v", c.view, c.caller.Name, c.order, c.filter), func(t *testing.T) {
			if got := ids(query(c.caller, c.view, c.order, c.filter...), column); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	t.Run("columns of an execution", func(t *testing.T) {
		e := query(fsmtest.Alice, "executions", "", "execution_id", "3")[0]
		for column, want := range map[string]any{
			"folder_name": "ETL", "project_name": "nightly", "package_name": "Load.dtsx", "executed_as_name": "carol",
			"operation_type": json.Number("200"),
			"object_type":    json.Number("20"), "status": json.Number("4"), "machine_name": "m1",
			"worker_agent_id": fsmtest.WorkerOne, "executed_count": json.Number("1"),
			"reference_id": nil, "process_id": nil, "stopped_by_name": nil, "use32bitruntime": false,
		} {
			if e[column] != want {
				t.Errorf("%s is %v, want %v", column, e[column], want)
			}
		}
		if e["start_time"] == nil || e["end_time"] == nil || e["end_time"].(string) <= e["start_time"].(string) ||
			e["start_time"].(string) <= e["created_time"].(string) {
			t.Errorf("times %v, %v, %v", e["created_time"], e["start_time"], e["end_time"])
		}
	})
	t.Run("columns of a deployment", func(t *testing.T) {
		d := query(fsmtest.Alice, "operations", "", "operation_id", "1")[0]
		if d["object_name"] != "nightly" || d["caller_name"] != "alice" || d["status"] != json.Number("7") {
			t.Errorf("%v", d)
		}
	})
}

func TestExecutionParameterValues(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	first, second := w.Create(fsmtest.Bob, ""), w.Create(fsmtest.Carol, "")
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":20,"parameter_name":"batch","parameter_value":3}`, first)
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":50,"parameter_name":"LOGGING_LEVEL","parameter_value":0}`, first)
	var got []string
	for _, r := range w.Query(fsmtest.Bob, "execution_parameter_values",
		view.Request{PageSize: 4, Where: fsmtest.Where("execution_id", fmt.Sprint(first))}) {
		got = append(got, fmt.Sprint(r["object_type"], " ", r["parameter_name"], " ", r["parameter_data_type"], " ",
			r["parameter_value"],
			flag(r, "sensitive"), flag(r, "required"), flag(r, "value_set"), flag(r, "runtime_override")))
	}
	want := []string{
		"50 CALLER_INFO String <nil>", "50 CUSTOMIZED_LOGGING_LEVEL String <nil>", "50 DUMP_EVENT_CODE String <nil>",
		"50 DUMP_ON_ERROR Boolean false value_set", "50 DUMP_ON_EVENT Boolean false value_set",
		"50 LOGGING_LEVEL Int32 0 value_set runtime_override",
		"50 QUEUE_TIMEOUT Int32 <nil>",
		"50 RUN_TIMEOUT Int32 <nil>",
		"50 SYNCHRONIZED Boolean false value_set",
		"20 Server String db1 value_set", "20 Secret String <nil> sensitive value_set",
		"20 Batch Int32 3 required value_set runtime_override",
		"20 CM.db.ConnectionString String Data Source=. value_set", "20 CM.db.Password String <nil> sensitive",
		"30 LoadDate DateTime 1900-01-01T00:00:00 value_set", "30 Ratio Decimal 1.5 value_set",
		"30 Flag Boolean true value_set", "30 Level Byte <nil>",
		"30 Pin Int32 <nil> sensitive", "30 Big UInt64 18446744073709551615 value_set",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n %s\nwant\n %s", strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
	n := len(want)
	all := w.Query(fsmtest.Alice, "execution_parameter_values",
		view.Request{PageSize: 5, Order: "-execution_parameter_id"})
	if len(all) != 2*n || all[0]["execution_id"] != json.Number(fmt.Sprint(second)) ||
		all[n]["execution_id"] != json.Number(fmt.Sprint(first)) {
		t.Errorf("%d values of two executions", len(all))
	}
	for i := 1; i < len(all); i++ {
		a, _ := all[i-1]["execution_parameter_id"].(json.Number).Int64()
		b, _ := all[i]["execution_parameter_id"].(json.Number).Int64()
		if a <= b {
			t.Fatalf("the ids %d and %d do not fall", a, b)
		}
	}
	if batch := w.Query(fsmtest.Carol, "execution_parameter_values",
		view.Request{Where: fsmtest.Where("parameter_name", "Batch")}); len(batch) != 1 ||
		batch[0]["value_set"] != false || batch[0]["parameter_value"] != nil {
		t.Errorf("the design default of a required parameter counts as a value: %v", batch)
	}
}

func flag(r map[string]any, name string) string {
	if r[name] == true {
		return " " + name
	}
	return ""
}
