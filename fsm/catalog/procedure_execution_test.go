package catalog

import (
	"fmt"
	"strings"
	"testing"

	"scaleout/fsm/command"
)

func TestCreateExecution(t *testing.T) {
	w := newWorld(t)
	w.deploy(project("nightly"))
	create := func(more string) string {
		return `{"folder_name":"ETL","project_name":"nightly","package_name":"Load.dtsx"` + more + `}`
	}
	w.refuses(bob, "create_execution", `{"folder_name":"x","project_name":"nightly","package_name":"Load.dtsx"}`, CodeFolderNotFound, `no folder "x"`)
	w.refuses(bob, "create_execution", `{"folder_name":"ETL","project_name":"x","package_name":"Load.dtsx"}`, CodeProjectNotFound, `no project "x"`)
	w.refuses(bob, "create_execution", `{"folder_name":"ETL","project_name":"nightly","package_name":"Laod.dtsx"}`, CodePackageNotFound, "did you mean Load.dtsx?")
	w.refuses(bob, "create_execution", `{"folder_name":"ETL","project_name":"nightly","package_name":"Child.dtsx"}`, CodeNotEntryPoint, "only another package runs it")
	w.refuses(bob, "create_execution", create(`,"reference_id":3`), CodeReferenceNotFound, "no environment reference 3")
	w.refuses(rita, "create_execution", create(``), CodePermissionDenied, "ssis_admin or ssis_cluster_executor; \"rita\" has ssis_logreader")

	for more, want := range map[string]command.CreateExecution{
		``:                                    {AnyWorker: true},
		`,"runinscaleout":1`:                  {AnyWorker: true},
		`,"useanyworker":false`:               {},
		`,"use32bitruntime":true`:             {AnyWorker: true, Use32Bit: true},
		`,"runinscaleout":0`:                  {AnyWorker: true, ServerMode: true},
		`,"runinscaleout":0,"useanyworker":0`: {AnyWorker: true, ServerMode: true},
	} {
		a := w.ok(bob, "create_execution", "%s", create(more))
		want.Folder, want.Project, want.Package, want.Server = "ETL", "nightly", "Load.dtsx", "MSSQLSERVER"
		got := *a.command.(*command.CreateExecution)
		want.Version = got.Version
		if got != want || got.Version == 0 {
			t.Errorf("%s makes %+v, want %+v", more, got, want)
		}
		if id, _ := a.outputs["execution_id"].(int64); id == 0 || a.returned != 0 {
			t.Errorf("%s answers %+v", more, a)
		}
	}
	all := w.query(alice, "executions", Request{Filter: map[string]string{"use32bitruntime": "1"}})
	if len(all) != 1 || all[0]["package_name"] != "Load.dtsx" || all[0]["server_name"] != "MSSQLSERVER" || all[0]["caller_name"] != "bob" {
		t.Fatalf("got %v", all)
	}
}

func TestSetExecutionParameterValue(t *testing.T) {
	w := newWorld(t)
	w.deploy(project("nightly"))
	id := w.create(bob, "")
	set := func(objectType int, name, value string) string {
		return fmt.Sprintf(`{"execution_id":%d,"object_type":%d,"parameter_name":%q,"parameter_value":%s}`, id, objectType, name, value)
	}
	const procedure = "set_execution_parameter_value"
	for _, c := range []struct {
		objectType  int
		name, value string
		want        string // "" when refused
		code, says  string
	}{
		{20, "server", `"db2"`, "db2", "", ""},
		{20, "Server", `""`, "", "", ""},
		{20, "Server", `5`, "", CodeInvalidArgument, "the number \"5\" is not a String: quote it"},
		{20, "Server", `true`, "", CodeInvalidArgument, "true is not a String"},
		{20, "Batch", `42`, "42", "", ""},
		{20, "Batch", `" 42 "`, "42", "", ""},
		{20, "Batch", `2147483648`, "", CodeInvalidArgument, "use a whole number from -2147483648 to 2147483647"},
		{20, "Batch", `4.5`, "", CodeInvalidArgument, `parameter_value of Batch: "4.5" is not a valid Int32`},
		{20, "Batch", `false`, "", CodeInvalidArgument, "false is not a Int32"},
		{20, "Btach", `1`, "", CodeParameterNotFound, "did you mean Batch?"},
		{20, "LoadDate", `"2020-01-01"`, "", CodeParameterNotFound, `the project "nightly" has no parameter "LoadDate"`},
		{20, "CM.db.ConnectionString", `"x"`, "x", "", ""},
		{30, "LoadDate", `"2020-01-01"`, "2020-01-01T00:00:00", "", ""},
		{30, "LoadDate", `"1/1/2020"`, "", CodeInvalidArgument, "use a date such as"},
		{30, "Ratio", `0.10`, "0.1", "", ""},
		{30, "Ratio", `"79228162514264337593543950335"`, "79228162514264337593543950335", "", ""},
		{30, "Flag", `false`, "false", "", ""},
		{30, "Flag", `0`, "false", "", ""},
		{30, "Flag", `"True"`, "true", "", ""},
		{30, "Flag", `2`, "", CodeInvalidArgument, "true or false"},
		{30, "Level", `256`, "", CodeInvalidArgument, "from 0 to 255"},
		{30, "Level", `255`, "255", "", ""},
		{30, "Big", `"18446744073709551615"`, "18446744073709551615", "", ""},
		{30, "Pin", `"12x4"`, "", CodeInvalidArgument, "not a valid Int32 for the sensitive parameter Pin"},
		{50, "LOGGING_LEVEL", `3`, "3", "", ""},
		{50, "logging_level", `100`, "100", "", ""},
		{50, "LOGGING_LEVEL", `5`, "", CodeInvalidArgument, "4 runtime lineage or 100 customized"},
		{50, "SYNCHRONIZED", `1`, "true", "", ""},
		{50, "SYNCHRONIZED", `"False"`, "false", "", ""},
		{50, "DUMP_ON_ERROR", `true`, "true", "", ""},
		{50, "DUMP_EVENT_CODE", `"0xC020801C;0xC0014054"`, "0xC020801C;0xC0014054", "", ""},
		{50, "QUEUE_TIMEOUT", `90`, "90", "", ""},
		{50, "queue_timeout", `0`, "0", "", ""},
		{50, "QUEUE_TIMEOUT", `-1`, "", CodeInvalidArgument, "use seconds from 1 to 31622400, or 0 for no bound"},
		{50, "RUN_TIMEOUT", `31622400`, "31622400", "", ""},
		{50, "RUN_TIMEOUT", `31622401`, "", CodeInvalidArgument, "use seconds from 1 to 31622400, or 0 for no bound"},
		{50, "RUN_TIMEOUT", `"2h"`, "", CodeInvalidArgument, "RUN_TIMEOUT"},
		{50, "CALLER_INFO", `"cron"`, "cron", "", ""},
		{50, "CUSTOMIZED_LOGGING_LEVEL", `"mine"`, "mine", "", ""},
		{50, "PRIORITY", `1`, "", CodeParameterNotFound, "there are CALLER_INFO, CUSTOMIZED_LOGGING_LEVEL"},
		{40, "Server", `"x"`, "", CodeInvalidArgument, "40 is none of 20 (project), 30 (package), 50 (server option)"},
		{20, "Server", `null`, "", CodeInvalidArgument, "must not be NULL"},
	} {
		if c.code != "" {
			w.refuses(bob, procedure, set(c.objectType, c.name, c.value), c.code, c.says)
			continue
		}
		w.ok(bob, procedure, "%s", set(c.objectType, c.name, c.value))
		e, _ := w.state.Reader().Execution(id)
		got, ok := setValue(e, c.objectType, c.name)
		if !ok || got.Text != c.want {
			t.Errorf("%s = %s is kept as %+v", c.name, c.value, got)
		}
	}
	w.refuses(bob, procedure, `{"execution_id":99,"object_type":20,"parameter_name":"Server","parameter_value":"x"}`, CodeExecutionNotFound, "no execution 99")
	w.refuses(carol, procedure, set(20, "Server", `"x"`), CodePermissionDenied, `created by "bob"`)
	w.ok(alice, procedure, "%s", set(20, "Server", `"by an administrator"`))
	w.ok(bob, "start_execution", `{"execution_id":%d}`, id)
	w.refuses(bob, procedure, set(20, "Server", `"x"`), CodeAlreadyStarted, "is pending")
}

func TestSecretsStaySealed(t *testing.T) {
	w := newWorld(t)
	w.deploy(project("nightly"))
	id := w.create(bob, "")
	for name, value := range map[string]string{"Secret": `"hush"`, "CM.db.Password": `"pw"`, "Batch": `1`} {
		w.ok(bob, "set_execution_parameter_value", `{"execution_id":%d,"object_type":20,"parameter_name":%q,"parameter_value":%s}`, id, name, value)
	}
	w.ok(bob, "set_execution_parameter_value", `{"execution_id":%d,"object_type":30,"parameter_name":"Pin","parameter_value":1234}`, id)
	other := w.create(bob, "")
	r := w.state.Reader()
	e, _ := r.Execution(id)
	for _, v := range e.Values {
		if v.Name != "Batch" && (v.Value.Sealed == nil || v.Value.Text != "") {
			t.Fatalf("%s is kept as %+v", v.Name, v.Value)
		}
	}
	v, _ := r.Version(e.Version)
	grantOf := func(e *Execution) (*command.Grant, map[string]string) {
		params, options, password := GrantParameters(v, e)
		g := &command.Grant{AttemptRef: command.AttemptRef{TaskID: e.ID, Attempt: 1}, ExecutionID: e.ID, Package: e.Package, ProjectBlob: v.Blob,
			Parameters: params, Options: options, ProjectPassword: password}
		texts := map[string]string{}
		for i := range g.Parameters {
			p := &g.Parameters[i]
			text, err := OpenParameter(g, p, w.open)
			if err != nil {
				t.Fatal(err)
			}
			if p.Sensitive != (p.Value.Sealed != nil) {
				t.Errorf("%s: sensitive %t, %+v", p.Name, p.Sensitive, p.Value)
			}
			texts[fmt.Sprint(p.ObjectType, " ", p.Name, " ", p.Value.Type)] = text
		}
		return g, texts
	}
	g, texts := grantOf(e)
	want := map[string]string{
		"20 Server String": "db1", "20 Secret String": "hush", "20 Batch Int32": "1", "20 CM.db.ConnectionString String": "Data Source=.", "20 CM.db.Password String": "pw",
		"30 LoadDate DateTime": "1900-01-01T00:00:00", "30 Ratio Decimal": "1.5", "30 Flag Boolean": "true", "30 Pin Int32": "1234", "30 Big UInt64": "18446744073709551615",
	}
	if fmt.Sprint(texts) != fmt.Sprint(want) {
		t.Errorf("the grant has\n %v, want\n %v", texts, want)
	}
	if fmt.Sprint(g.Options) != "[{50 DUMP_ON_ERROR false {Boolean false <nil>}} {50 DUMP_ON_EVENT false {Boolean false <nil>}} {50 LOGGING_LEVEL false {Int32 1 <nil>}} {50 SYNCHRONIZED false {Boolean false <nil>}}]" {
		t.Errorf("options %v", g.Options)
	}
	if password, err := OpenPassword(g, w.open); err != nil || password != "" {
		t.Errorf("password %q, %v", password, err)
	}
	// The other execution gets the design default, and the value of the first does not open there.
	o, _ := r.Execution(other)
	og, texts := grantOf(o)
	if texts["20 Secret String"] != "s3cret" {
		t.Errorf("the design default opens as %q", texts["20 Secret String"])
	}
	if _, ok := texts["20 CM.db.Password String"]; ok {
		t.Error("a parameter without a value is granted")
	}
	for i := range g.Parameters {
		if p := &g.Parameters[i]; p.Sensitive {
			if text, err := OpenParameter(og, p, w.open); err == nil {
				t.Errorf("%s of execution %d opens for execution %d as %q", p.Name, id, other, text)
			} else if strings.Contains(err.Error(), "hush") {
				t.Error("an error shows a secret")
			}
		}
	}
	rows := w.query(bob, "execution_parameter_values", Request{Filter: map[string]string{"execution_id": fmt.Sprint(id), "sensitive": "1"}})
	if len(rows) != 3 {
		t.Fatalf("%d sensitive values, want 3", len(rows))
	}
	for _, row := range rows {
		if row["parameter_value"] != nil || row["value_set"] != true {
			t.Errorf("%v", row)
		}
	}
}

func TestStartExecution(t *testing.T) {
	w := newWorld(t)
	w.deploy(project("nightly"))
	w.register(workerOne, "m1")
	const start, set = "start_execution", `{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`
	id := w.create(bob, "")
	w.refuses(bob, start, `{"execution_id":77}`, CodeExecutionNotFound, "no execution 77")
	w.refuses(bob, start, fmt.Sprintf(`{"execution_id":%d}`, id), CodeValueRequired, "project parameter Batch")
	w.ok(bob, "set_execution_parameter_value", set, id)
	w.refuses(bob, start, fmt.Sprintf(`{"execution_id":%d,"retry_count":101}`, id), CodeInvalidArgument, "101 is outside 0–100")
	w.refuses(bob, start, fmt.Sprintf(`{"execution_id":%d,"retry_count":-1}`, id), CodeInvalidArgument, "outside 0–100")
	w.refuses(carol, start, fmt.Sprintf(`{"execution_id":%d}`, id), CodePermissionDenied, "bob")
	a := w.ok(bob, start, `{"execution_id":%d,"retry_count":100}`, id)
	if got := *a.command.(*command.StartExecution); got != (command.StartExecution{ExecutionID: id, RetryCount: 100, RetryDelayMs: 5000}) || a.wait != 0 {
		t.Errorf("it starts as %+v", a)
	}
	w.refuses(bob, start, fmt.Sprintf(`{"execution_id":%d}`, id), CodeAlreadyStarted, "is pending")

	waiting := w.create(bob, "")
	w.ok(bob, "set_execution_parameter_value", set, waiting)
	w.ok(bob, "set_execution_parameter_value", `{"execution_id":%d,"object_type":50,"parameter_name":"SYNCHRONIZED","parameter_value":true}`, waiting)
	if a := w.ok(bob, start, `{"execution_id":%d}`, waiting); a.wait != waiting {
		t.Errorf("a synchronized start waits for %d", a.wait)
	}

	chosen := w.create(bob, `,"useanyworker":0`)
	w.ok(bob, "set_execution_parameter_value", set, chosen)
	w.refuses(bob, start, fmt.Sprintf(`{"execution_id":%d}`, chosen), CodeNoWorkerSelected, "none was added")

	w.deploy(project("nightly"))
	w.refuses(bob, start, fmt.Sprintf(`{"execution_id":%d}`, chosen), CodeRedeployed, "deployed again")
	late := w.create(bob, "")
	w.ok(bob, "set_execution_parameter_value", set, late)
	_, err := w.call(alice, "delete_project", `{"folder_name":"ETL","project_name":"nightly"}`)
	rejected(t, err, CodeProjectInUse)
	w.ok(bob, "stop_operation", `{"operation_id":%d}`, id)
	w.ok(bob, "stop_operation", `{"operation_id":%d}`, waiting)
	w.ok(alice, "delete_project", `{"folder_name":"ETL","project_name":"nightly"}`)
	w.refuses(bob, start, fmt.Sprintf(`{"execution_id":%d}`, late), CodeRedeployed, "deleted")
}

func TestAddExecutionWorker(t *testing.T) {
	w := newWorld(t)
	w.deploy(project("nightly"))
	w.register(workerOne, "m1")
	const add = "add_execution_worker"
	id := w.create(bob, `,"useanyworker":0`)
	w.ok(bob, add, `{"execution_id":%d,"workeragent_id":"{%s}"}`, id, strings.ToLower(workerOne))
	w.ok(bob, add, `{"execution_id":%d,"WorkerAgent_Id":%q}`, id, workerOne)
	w.refuses(bob, add, fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, id, workerTwo), CodeWorkerNotFound, workerTwo)
	w.refuses(bob, add, fmt.Sprintf(`{"execution_id":%d,"workeragent_id":"m1"}`, id), CodeInvalidArgument, `"m1" is not a valid uniqueidentifier`)
	w.refuses(bob, add, fmt.Sprintf(`{"execution_id":9,"workeragent_id":%q}`, workerOne), CodeExecutionNotFound, "9")
	w.refuses(carol, add, fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, id, workerOne), CodePermissionDenied, "bob")
	anyone, old := w.create(bob, ""), w.create(bob, `,"runinscaleout":0`)
	w.refuses(bob, add, fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, anyone, workerOne), CodeAnyWorker, "useanyworker 0")
	w.refuses(bob, add, fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, old, workerOne), CodeNotScaleOut, "not in Scale Out")
	w.ok(bob, "set_execution_parameter_value", `{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`, id)
	w.ok(bob, "start_execution", `{"execution_id":%d}`, id)
	w.refuses(bob, add, fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, id, workerOne), CodeAlreadyStarted, "pending")
	e, _ := w.state.Reader().Execution(id)
	if len(e.Workers) != 1 {
		t.Fatalf("workers %v, want one", e.Workers)
	}
}

func TestStopOperation(t *testing.T) {
	w := newWorld(t)
	deployed := w.deploy(project("nightly"))
	w.register(workerOne, "m1")
	const stop = "stop_operation"
	w.refuses(bob, stop, `{"operation_id":99}`, CodeOperationNotFound, "no operation 99")
	w.refuses(alice, stop, fmt.Sprintf(`{"operation_id":%d}`, deployed.outputs["operation_id"]), CodeAlreadyEnded, "only executions")
	created, pending, running := w.create(bob, ""), w.started(bob), w.started(bob)
	w.grant(running, 1, workerOne, "m1")
	w.refuses(carol, stop, fmt.Sprintf(`{"operation_id":%d}`, pending), CodePermissionDenied, "bob")
	for id, says := range map[int64]string{created: "canceled", pending: "canceled", running: "stopping"} {
		w.ok(bob, stop, `{"operation_id":%d}`, id)
		w.refuses(bob, stop, fmt.Sprintf(`{"operation_id":%d}`, id), CodeAlreadyStopped, "is "+says+`: "bob" stopped it`)
	}
	done := w.started(bob)
	w.grant(done, 1, workerOne, "m1")
	w.report(done, 1, workerOne, "m1", command.Succeeded, 0)
	w.refuses(alice, stop, fmt.Sprintf(`{"operation_id":%d}`, done), CodeAlreadyEnded, "it is succeeded")
}

func TestWorkerProcedures(t *testing.T) {
	w := newWorld(t)
	w.deploy(project("nightly"))
	w.register(workerOne, "m1")
	unknown := fmt.Sprintf(`{"WorkerAgentId":%q}`, workerTwo)
	for _, p := range []string{"enable_worker_agent", "disable_worker_agent", "delete_worker_agent"} {
		w.refuses(alice, p, unknown, CodeWorkerNotFound, workerTwo)
		w.refuses(alice, p, `{"WorkerAgentId":"x"}`, CodeInvalidArgument, "use a GUID such as")
		w.refuses(bob, p, unknown, CodePermissionDenied, "ssis_admin")
	}
	row := func() map[string]any { return w.query(bob, "worker_agents", Request{})[0] }
	w.ok(alice, "disable_worker_agent", `{"workeragentid":%q}`, workerOne)
	if row()["IsEnabled"] != false {
		t.Fatal("it is still enabled")
	}
	w.ok(alice, "enable_worker_agent", `{"WORKERAGENTID":%q}`, strings.ToLower(workerOne))
	w.ok(alice, "enable_worker_agent", `{"WorkerAgentId":%q}`, workerOne)
	if row()["IsEnabled"] != true {
		t.Fatal("it is not enabled")
	}
	set := func(name, value string) string {
		return fmt.Sprintf(`{"WorkerAgentId":%q,"PropertyName":%q,"PropertyValue":%q}`, workerOne, name, value)
	}
	for _, name := range []string{"DisplayName", "Description", "Tags"} {
		w.ok(alice, "set_worker_agent_property", "%s", set(strings.ToLower(name), "new "+name))
		if row()[name] != "new "+name {
			t.Errorf("%s is %v", name, row()[name])
		}
	}
	w.refuses(alice, "set_worker_agent_property", set("IsEnabled", "1"), CodeInvalidArgument, "DisplayName, Description, Tags and MaxTaskCount")
	w.refuses(alice, "set_worker_agent_property", set("Description", strings.Repeat("x", 257)), CodeInvalidArgument, "at most 256 characters, these are 257")
	id := w.started(bob)
	w.grant(id, 1, workerOne, "m1")
	w.refuses(alice, "delete_worker_agent", fmt.Sprintf(`{"WorkerAgentId":%q}`, workerOne), CodeWorkerBusy, fmt.Sprint("execution ", id))
	w.report(id, 1, workerOne, "m1", command.Succeeded, 0)
	w.ok(alice, "delete_worker_agent", `{"WorkerAgentId":%q}`, workerOne)
	if n := len(w.query(bob, "worker_agents", Request{})); n != 0 {
		t.Fatalf("%d workers are left", n)
	}
	if a := w.ok(alice, "enable_scaleout", `{}`); a.returned != 0 {
		t.Fatal(a)
	}
}
