package procedure_test

import (
	"fmt"
	"strings"
	"testing"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/view"
)

func TestCreateExecution(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	create := func(more string) string {
		return `{"folder_name":"ETL","project_name":"nightly","package_name":"Load.dtsx"` + more + `}`
	}
	refuses(w, "create_execution",
		refusal{"no folder", fsmtest.Bob, `{"folder_name":"x","project_name":"nightly","package_name":"Load.dtsx"}`,
			command.CodeFolderNotFound, `no folder "x"`},
		refusal{"no project", fsmtest.Bob, `{"folder_name":"ETL","project_name":"x","package_name":"Load.dtsx"}`,
			command.CodeProjectNotFound, `no project "x"`},
		refusal{"no package", fsmtest.Bob,
			`{"folder_name":"ETL","project_name":"nightly","package_name":"Laod.dtsx"}`, command.CodePackageNotFound,
			"did you mean Load.dtsx?"},
		refusal{"no entry point", fsmtest.Bob,
			`{"folder_name":"ETL","project_name":"nightly","package_name":"Child.dtsx"}`, command.CodeNotEntryPoint,
			"only another package runs it"},
		refusal{"a reference", fsmtest.Bob, create(`,"reference_id":3`), command.CodeReferenceNotFound,
			"no environment reference 3"},
		refusal{"no role for it", fsmtest.Rita, create(``), command.FamilyPermissionDenied,
			"takes a role (ssis_cluster_executor, ssis_admin); \"rita\" has ssis_logreader"},
	)

	for more, want := range map[string]command.CreateExecution{
		``:                                    {AnyWorker: true},
		`,"runinscaleout":1`:                  {AnyWorker: true},
		`,"useanyworker":false`:               {},
		`,"use32bitruntime":true`:             {AnyWorker: true, Use32Bit: true},
		`,"runinscaleout":0`:                  {AnyWorker: true, ServerMode: true},
		`,"runinscaleout":0,"useanyworker":0`: {AnyWorker: true, ServerMode: true},
	} {
		w.Case("with"+more, func(t *testing.T) {
			a := w.Ok(fsmtest.Bob, "create_execution", "%s", create(more))
			want.Folder, want.Project, want.Package, want.Server = "ETL", "nightly", "Load.dtsx", "MSSQLSERVER"
			got := *a.Command.(*command.CreateExecution)
			if got != want {
				t.Errorf("%s makes %+v, want %+v", more, got, want)
			}
			if id, _ := a.Outputs["execution_id"].(int64); id == 0 || a.Returned != 0 {
				t.Errorf("%s answers %+v", more, a)
			}
		})
	}
	all := w.Query(fsmtest.Alice, "executions", view.Request{Where: fsmtest.Where("use32bitruntime", "1")})
	if len(all) != 1 || all[0]["package_name"] != "Load.dtsx" || all[0]["server_name"] != "MSSQLSERVER" ||
		all[0]["caller_name"] != "bob" {
		t.Fatalf("got %v", all)
	}
}

func TestSetExecutionParameterValue(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	id := w.Create(fsmtest.Bob, "")
	set := func(objectType int, name, value string) string {
		return fmt.Sprintf(`{"execution_id":%d,"object_type":%d,"parameter_name":%q,"parameter_value":%s}`, id, objectType,
			name, value)
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
		{20, "Server", `5`, "", command.FamilyInvalidArgument, "the number \"5\" is not a String: quote it"},
		{20, "Server", `true`, "", command.FamilyInvalidArgument, "true is not a String"},
		{20, "Batch", `42`, "42", "", ""},
		{20, "Batch", `" 42 "`, "42", "", ""},
		{20, "Batch", `2147483648`, "", command.FamilyInvalidArgument, "use a whole number from -2147483648 to 2147483647"},
		{20, "Batch", `4.5`, "", command.FamilyInvalidArgument, `parameter_value of Batch: "4.5" is not a valid Int32`},
		{20, "Batch", `false`, "", command.FamilyInvalidArgument, "false is not a Int32"},
		{20, "Btach", `1`, "", command.CodeParameterNotFound, "did you mean Batch?"},
		{20, "LoadDate", `"2020-01-01"`, "", command.CodeParameterNotFound,
			`the project "nightly" has no parameter "LoadDate"`},
		{20, "CM.db.ConnectionString", `"x"`, "x", "", ""},
		{30, "LoadDate", `"2020-01-01"`, "2020-01-01T00:00:00", "", ""},
		{30, "LoadDate", `"1/1/2020"`, "", command.FamilyInvalidArgument, "use a date such as"},
		{30, "Ratio", `0.10`, "0.1", "", ""},
		{30, "Ratio", `"79228162514264337593543950335"`, "79228162514264337593543950335", "", ""},
		{30, "Flag", `false`, "false", "", ""},
		{30, "Flag", `0`, "false", "", ""},
		{30, "Flag", `"True"`, "true", "", ""},
		{30, "Flag", `2`, "", command.FamilyInvalidArgument, "true or false"},
		{30, "Level", `256`, "", command.FamilyInvalidArgument, "from 0 to 255"},
		{30, "Level", `255`, "255", "", ""},
		{30, "Big", `"18446744073709551615"`, "18446744073709551615", "", ""},
		{30, "Pin", `"12x4"`, "", command.FamilyInvalidArgument, "not a valid Int32 for the sensitive parameter Pin"},
		{50, "LOGGING_LEVEL", `3`, "3", "", ""},
		{50, "logging_level", `100`, "100", "", ""},
		{50, "LOGGING_LEVEL", `5`, "", command.FamilyInvalidArgument, "4 runtime lineage or 100 customized"},
		{50, "SYNCHRONIZED", `1`, "true", "", ""},
		{50, "SYNCHRONIZED", `"False"`, "false", "", ""},
		{50, "DUMP_ON_ERROR", `true`, "true", "", ""},
		{50, "DUMP_EVENT_CODE", `"0xC020801C;0xC0014054"`, "0xC020801C;0xC0014054", "", ""},
		{50, "QUEUE_TIMEOUT", `90`, "90", "", ""},
		{50, "queue_timeout", `0`, "0", "", ""},
		{50, "QUEUE_TIMEOUT", `-1`, "", command.FamilyInvalidArgument, "use seconds from 1 to 31622400, or 0 for no bound"},
		{50, "RUN_TIMEOUT", `31622400`, "31622400", "", ""},
		{50, "RUN_TIMEOUT", `31622401`, "", command.FamilyInvalidArgument,
			"use seconds from 1 to 31622400, or 0 for no bound"},
		{50, "RUN_TIMEOUT", `"2h"`, "", command.FamilyInvalidArgument, "RUN_TIMEOUT"},
		{50, "CALLER_INFO", `"cron"`, "cron", "", ""},
		{50, "CUSTOMIZED_LOGGING_LEVEL", `"mine"`, "mine", "", ""},
		{50, "PRIORITY", `1`, "", command.CodeParameterNotFound, "there are CALLER_INFO, CUSTOMIZED_LOGGING_LEVEL"},
		{40, "Server", `"x"`, "", command.FamilyInvalidArgument,
			"40 is none of 20 (project), 30 (package), 50 (server option)"},
		{20, "Server", `null`, "", command.FamilyInvalidArgument, "must not be NULL"},
	} {
		w.Case(fmt.Sprint(c.objectType, " ", c.name, " = ", c.value), func(t *testing.T) {
			if c.code != "" {
				w.Refuses(fsmtest.Bob, procedure, set(c.objectType, c.name, c.value), c.code, c.says)
				return
			}
			w.Ok(fsmtest.Bob, procedure, "%s", set(c.objectType, c.name, c.value))
			e, _ := w.State.Reader().Execution(id)
			got, ok := catalog.ValueOf(e, c.objectType, c.name)
			if !ok || got.Text != c.want {
				t.Errorf("it is kept as %+v", got)
			}
		})
	}
	w.Refuses(fsmtest.Bob, procedure,
		`{"execution_id":99,"object_type":20,"parameter_name":"Server","parameter_value":"x"}`,
		command.CodeExecutionNotFound, "no execution 99")
	// Whoever may not change the execution learns nothing of its parameters, and has nothing sealed.
	for _, value := range []string{
		set(20, "Server", `"x"`), set(20, "Nope", `"x"`), set(20, "Batch", `"x"`), set(20, "Secret", `"x"`),
		set(50, "Nope", `1`), set(40, "Server", `"x"`),
	} {
		w.Refuses(fsmtest.Carol, procedure, value, command.FamilyPermissionDenied, `created by "bob"`)
	}
	w.Ok(fsmtest.Alice, procedure, "%s", set(20, "Server", `"by an administrator"`))
	w.Ok(fsmtest.Bob, "start_execution", `{"execution_id":%d}`, id)
	w.Refuses(fsmtest.Bob, procedure, set(20, "Server", `"x"`), command.CodeAlreadyStarted, "is pending")
}

func TestSecretsStaySealed(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	id := w.Create(fsmtest.Bob, "")
	for name, value := range map[string]string{"Secret": `"hush"`, "CM.db.Password": `"pw"`, "Batch": `1`} {
		w.Ok(fsmtest.Bob, "set_execution_parameter_value",
			`{"execution_id":%d,"object_type":20,"parameter_name":%q,"parameter_value":%s}`, id, name, value)
	}
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":30,"parameter_name":"Pin","parameter_value":1234}`, id)
	other := w.Create(fsmtest.Bob, "")
	r := w.State.Reader()
	e, _ := r.Execution(id)
	for _, v := range e.Values {
		if v.Name != "Batch" && (v.Value.Sealed == nil || v.Value.Text != "") {
			t.Fatalf("%s is kept as %+v", v.Name, v.Value)
		}
	}
	v, _ := r.Version(e.Version)
	grantOf := func(e *catalog.Execution) (*command.Grant, map[string]string) {
		params, options, password := catalog.GrantParameters(v, e)
		g := &command.Grant{AttemptRef: command.AttemptRef{TaskID: e.ID, Attempt: 1}, ExecutionID: e.ID, Package: e.Package,
			ProjectBlob: v.Blob,
			Parameters:  params, Options: options, ProjectPassword: password}
		texts := map[string]string{}
		for i := range g.Parameters {
			p := &g.Parameters[i]
			text, err := catalog.OpenParameter(g, p, w.Unseal)
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
		"20 Server String": "db1", "20 Secret String": "hush", "20 Batch Int32": "1",
		"20 CM.db.ConnectionString String": "Data Source=.", "20 CM.db.Password String": "pw",
		"30 LoadDate DateTime": "1900-01-01T00:00:00", "30 Ratio Decimal": "1.5", "30 Flag Boolean": "true",
		"30 Pin Int32": "1234", "30 Big UInt64": "18446744073709551615",
	}
	if fmt.Sprint(texts) != fmt.Sprint(want) {
		t.Errorf("the grant has\n %v, want\n %v", texts, want)
	}
	if fmt.Sprint(g.Options) !=
		"[{50 DUMP_ON_ERROR false {Boolean false <nil>}} {50 DUMP_ON_EVENT false {Boolean false <nil>}} {50 LOGGING_LEVEL "+
			"false {Int32 1 <nil>}} {50 SYNCHRONIZED false {Boolean false <nil>}}]" {
		t.Errorf("options %v", g.Options)
	}
	if password, err := catalog.OpenPassword(g, w.Unseal); err != nil || password != "" {
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
			if text, err := catalog.OpenParameter(og, p, w.Unseal); err == nil {
				t.Errorf("%s of execution %d opens for execution %d as %q", p.Name, id, other, text)
			} else if strings.Contains(err.Error(), "hush") {
				t.Error("an error shows a secret")
			}
		}
	}
	rows := w.Query(fsmtest.Bob, "execution_parameter_values",
		view.Request{Where: fsmtest.Where("execution_id", fmt.Sprint(id), "sensitive", "1")})
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
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	const start = "start_execution"
	const set = `{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`
	id := w.Create(fsmtest.Bob, "")
	w.Refuses(fsmtest.Bob, start, `{"execution_id":77}`, command.CodeExecutionNotFound, "no execution 77")
	w.Refuses(fsmtest.Bob, start, fmt.Sprintf(`{"execution_id":%d}`, id), command.CodeValueRequired, "$Project::Batch")
	w.Ok(fsmtest.Bob, "set_execution_parameter_value", set, id)
	w.Refuses(fsmtest.Bob, start, fmt.Sprintf(`{"execution_id":%d,"retry_count":101}`, id), command.FamilyInvalidArgument,
		"101 is outside 0–100")
	w.Refuses(fsmtest.Bob, start, fmt.Sprintf(`{"execution_id":%d,"retry_count":-1}`, id), command.FamilyInvalidArgument,
		"outside 0–100")
	w.Refuses(fsmtest.Carol, start, fmt.Sprintf(`{"execution_id":%d}`, id), command.FamilyPermissionDenied, "bob")
	a := w.Ok(fsmtest.Bob, start, `{"execution_id":%d,"retry_count":100}`, id)
	if got := *a.Command.(*command.StartExecution); got != (command.StartExecution{ExecutionID: id, RetryCount: 100,
		RetryDelayMs: 5000}) || a.Wait != 0 {
		t.Errorf("it starts as %+v", a)
	}
	w.Refuses(fsmtest.Bob, start, fmt.Sprintf(`{"execution_id":%d}`, id), command.CodeAlreadyStarted, "is pending")

	waiting := w.Create(fsmtest.Bob, "")
	w.Ok(fsmtest.Bob, "set_execution_parameter_value", set, waiting)
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":50,"parameter_name":"SYNCHRONIZED","parameter_value":true}`, waiting)
	if a := w.Ok(fsmtest.Bob, start, `{"execution_id":%d}`, waiting); a.Wait != waiting {
		t.Errorf("a synchronized start waits for %d", a.Wait)
	}

	chosen := w.Create(fsmtest.Bob, `,"useanyworker":0`)
	w.Ok(fsmtest.Bob, "set_execution_parameter_value", set, chosen)
	w.Refuses(fsmtest.Bob, start, fmt.Sprintf(`{"execution_id":%d}`, chosen), command.CodeNoWorkerSelected,
		"none was added")

	w.Deploy(fsmtest.Project("nightly"))
	w.Refuses(fsmtest.Bob, start, fmt.Sprintf(`{"execution_id":%d}`, chosen), command.CodeRedeployed, "deployed again")
	late := w.Create(fsmtest.Bob, "")
	w.Ok(fsmtest.Bob, "set_execution_parameter_value", set, late)
	_, err := w.Call(fsmtest.Alice, "delete_project", `{"folder_name":"ETL","project_name":"nightly"}`)
	fsmtest.Rejected(t, err, command.CodeProjectInUse)
	w.Ok(fsmtest.Bob, "stop_operation", `{"operation_id":%d}`, id)
	w.Ok(fsmtest.Bob, "stop_operation", `{"operation_id":%d}`, waiting)
	w.Ok(fsmtest.Alice, "delete_project", `{"folder_name":"ETL","project_name":"nightly"}`)
	w.Refuses(fsmtest.Bob, start, fmt.Sprintf(`{"execution_id":%d}`, late), command.CodeRedeployed, "deleted")
}

func TestAddExecutionWorker(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	const add = "add_execution_worker"
	id := w.Create(fsmtest.Bob, `,"useanyworker":0`)
	w.Ok(fsmtest.Bob, add, `{"execution_id":%d,"workeragent_id":"{%s}"}`, id, strings.ToLower(fsmtest.WorkerOne))
	w.Ok(fsmtest.Bob, add, `{"execution_id":%d,"WorkerAgent_Id":%q}`, id, fsmtest.WorkerOne)
	anyone, old := w.Create(fsmtest.Bob, ""), w.Create(fsmtest.Bob, `,"runinscaleout":0`)
	of := func(id int64, worker string) string {
		return fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, id, worker)
	}
	refuses(w, add,
		refusal{"no worker", fsmtest.Bob, of(id, fsmtest.WorkerTwo), command.CodeWorkerNotFound, fsmtest.WorkerTwo},
		refusal{"no id", fsmtest.Bob, of(id, "m1"), command.FamilyInvalidArgument,
			`"m1" is not a valid uniqueidentifier`},
		refusal{"no execution", fsmtest.Bob, of(9, fsmtest.WorkerOne), command.CodeExecutionNotFound, "9"},
		refusal{"of another caller", fsmtest.Carol, of(id, fsmtest.WorkerOne), command.FamilyPermissionDenied, "bob"},
		refusal{"any worker", fsmtest.Bob, of(anyone, fsmtest.WorkerOne), command.CodeAnyWorker, "useanyworker 0"},
		refusal{"not in Scale Out", fsmtest.Bob, of(old, fsmtest.WorkerOne), command.CodeNotScaleOut,
			"not in Scale Out"},
	)
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`, id)
	w.Ok(fsmtest.Bob, "start_execution", `{"execution_id":%d}`, id)
	w.Refuses(fsmtest.Bob, add, fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, id, fsmtest.WorkerOne),
		command.CodeAlreadyStarted, "pending")
	e, _ := w.State.Reader().Execution(id)
	if len(e.Workers) != 1 {
		t.Fatalf("workers %v, want one", e.Workers)
	}
}

func TestStopOperation(t *testing.T) {
	w := fsmtest.NewWorld(t)
	deployed := w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	const stop = "stop_operation"
	w.Refuses(fsmtest.Bob, stop, `{"operation_id":99}`, command.CodeOperationNotFound, "no operation 99")
	w.Refuses(fsmtest.Alice, stop, fmt.Sprintf(`{"operation_id":%d}`, deployed.Outputs["operation_id"]),
		command.CodeAlreadyEnded, "only executions")
	created, pending, running := w.Create(fsmtest.Bob, ""), w.Started(fsmtest.Bob), w.Started(fsmtest.Bob)
	w.Grant(running, 1, fsmtest.WorkerOne, "m1")
	w.Refuses(fsmtest.Carol, stop, fmt.Sprintf(`{"operation_id":%d}`, pending), command.FamilyPermissionDenied, "bob")
	for _, c := range []struct {
		name, says string
		id         int64
	}{{"created", "canceled", created}, {"pending", "canceled", pending}, {"running", "stopping", running}} {
		w.Case(c.name, func(*testing.T) {
			w.Ok(fsmtest.Bob, stop, `{"operation_id":%d}`, c.id)
			w.Refuses(fsmtest.Bob, stop, fmt.Sprintf(`{"operation_id":%d}`, c.id), command.CodeAlreadyStopped,
				"is "+c.says+`: "bob" stopped it`)
		})
	}
	done := w.Started(fsmtest.Bob)
	w.Grant(done, 1, fsmtest.WorkerOne, "m1")
	w.Report(done, 1, fsmtest.WorkerOne, "m1", command.Succeeded, 0)
	w.Refuses(fsmtest.Alice, stop, fmt.Sprintf(`{"operation_id":%d}`, done), command.CodeAlreadyEnded, "it is succeeded")
}

func TestWorkerProcedures(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	unknown := fmt.Sprintf(`{"WorkerAgentId":%q}`, fsmtest.WorkerTwo)
	for _, p := range []string{"enable_worker_agent", "disable_worker_agent", "delete_worker_agent"} {
		refuses(w, p,
			refusal{p + ": no worker", fsmtest.Alice, unknown, command.CodeWorkerNotFound, fsmtest.WorkerTwo},
			refusal{p + ": no id", fsmtest.Alice, `{"WorkerAgentId":"x"}`, command.FamilyInvalidArgument,
				"use a GUID such as"},
			refusal{p + ": no role for it", fsmtest.Bob, unknown, command.FamilyPermissionDenied, "ssis_admin"},
		)
	}
	row := func() map[string]any { return w.Query(fsmtest.Bob, "worker_agents", view.Request{})[0] }
	w.Ok(fsmtest.Alice, "disable_worker_agent", `{"workeragentid":%q}`, fsmtest.WorkerOne)
	if row()["IsEnabled"] != false {
		t.Fatal("it is still enabled")
	}
	w.Ok(fsmtest.Alice, "enable_worker_agent", `{"WORKERAGENTID":%q}`, strings.ToLower(fsmtest.WorkerOne))
	w.Ok(fsmtest.Alice, "enable_worker_agent", `{"WorkerAgentId":%q}`, fsmtest.WorkerOne)
	if row()["IsEnabled"] != true {
		t.Fatal("it is not enabled")
	}
	set := func(name, value string) string {
		return fmt.Sprintf(`{"WorkerAgentId":%q,"PropertyName":%q,"PropertyValue":%q}`, fsmtest.WorkerOne, name, value)
	}
	for _, name := range []string{"DisplayName", "Description", "Tags"} {
		w.Case("set "+name, func(t *testing.T) {
			w.Ok(fsmtest.Alice, "set_worker_agent_property", "%s", set(strings.ToLower(name), "new "+name))
			if row()[name] != "new "+name {
				t.Errorf("it is %v", row()[name])
			}
		})
	}
	w.Refuses(fsmtest.Alice, "set_worker_agent_property", set("IsEnabled", "1"), command.FamilyInvalidArgument,
		"DisplayName, Description, Tags, MaxTaskCount")
	w.Refuses(fsmtest.Alice, "set_worker_agent_property", set("Description", strings.Repeat("x", 257)),
		command.FamilyInvalidArgument, "at most 256 characters, these are 257")
	id := w.Started(fsmtest.Bob)
	w.Grant(id, 1, fsmtest.WorkerOne, "m1")
	w.Refuses(fsmtest.Alice, "delete_worker_agent", fmt.Sprintf(`{"WorkerAgentId":%q}`, fsmtest.WorkerOne),
		command.CodeWorkerBusy, fmt.Sprint("execution ", id))
	w.Report(id, 1, fsmtest.WorkerOne, "m1", command.Succeeded, 0)
	w.Ok(fsmtest.Alice, "delete_worker_agent", `{"WorkerAgentId":%q}`, fsmtest.WorkerOne)
	if n := len(w.Query(fsmtest.Bob, "worker_agents", view.Request{})); n != 0 {
		t.Fatalf("%d workers are left", n)
	}
	if a := w.Ok(fsmtest.Alice, "enable_scaleout", `{}`); a.Returned != 0 {
		t.Fatal(a)
	}
}
