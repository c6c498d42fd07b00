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
	refuses(w, procedure, refusal{"no execution", fsmtest.Bob,
		`{"execution_id":99,"object_type":20,"parameter_name":"Server","parameter_value":"x"}`,
		command.CodeExecutionNotFound, "no execution 99"})
	// Whoever may not change the execution learns nothing of its parameters, and has nothing sealed.
	for name, value := range map[string]string{
		"a value": set(20, "Server", `"x"`), "no such parameter": set(20, "Nope", `"x"`),
		"another type": set(20, "Batch", `"x"`), "a secret": set(20, "Secret", `"x"`),
		"no such option": set(50, "Nope", `1`), "no such object type": set(40, "Server", `"x"`),
	} {
		refuses(w, procedure,
			refusal{"of another caller: " + name, fsmtest.Carol, value, command.FamilyPermissionDenied, `created by "bob"`})
	}
	w.Case("an administrator sets it for the caller", func(*testing.T) {
		w.Ok(fsmtest.Alice, procedure, "%s", set(20, "Server", `"by an administrator"`))
	})
	w.Ok(fsmtest.Bob, "start_execution", `{"execution_id":%d}`, id)
	refuses(w, procedure,
		refusal{"once it is started", fsmtest.Bob, set(20, "Server", `"x"`), command.CodeAlreadyStarted, "is pending"})
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
			texts[fmt.Sprint(p.ObjectType, " ", p.Name, " ", p.Value.Type)] = text.Reveal()
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
	if password, err := catalog.OpenPassword(g, w.Unseal); err != nil || password.Reveal() != "" {
		t.Errorf("password %q, %v", password.Reveal(), err)
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
				t.Errorf("%s of execution %d opens for execution %d as %q", p.Name, id, other, text.Reveal())
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

// ready creates an execution that lacks nothing to be started.
func ready(w *fsmtest.World, more string) int64 {
	w.T.Helper()
	id := w.Create(fsmtest.Bob, more)
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`, id)
	return id
}

func TestStartExecution(t *testing.T) {
	const start = "start_execution"
	plain := func(w *fsmtest.World) int64 { return ready(w, "") }
	synchronized := func(w *fsmtest.World) int64 {
		id := ready(w, "")
		w.Ok(fsmtest.Bob, "set_execution_parameter_value",
			`{"execution_id":%d,"object_type":50,"parameter_name":"SYNCHRONIZED","parameter_value":true}`, id)
		return id
	}
	for _, c := range []struct {
		name   string
		make   func(*fsmtest.World) int64 // the execution
		caller command.Caller
		more   string // arguments
		// What is wanted: a refusal, or how often it is tried again and whether the caller waits for the end.
		code, says string
		retries    int
		waits      bool
	}{
		{"started", plain, fsmtest.Bob, "", "", "", 0, false},
		{"by an administrator", plain, fsmtest.Alice, "", "", "", 0, false},
		{"with the most retries", plain, fsmtest.Bob, `,"retry_count":100`, "", "", 100, false},
		{"synchronized", synchronized, fsmtest.Bob, "", "", "", 0, true},
		{"no execution", func(*fsmtest.World) int64 { return 77 }, fsmtest.Bob, "", command.CodeExecutionNotFound,
			"no execution 77", 0, false},
		{"a required value is missing", func(w *fsmtest.World) int64 { return w.Create(fsmtest.Bob, "") }, fsmtest.Bob, "",
			command.CodeValueRequired, "$Project::Batch", 0, false},
		{"too many retries", plain, fsmtest.Bob, `,"retry_count":101`, command.FamilyInvalidArgument,
			"101 is outside 0–100", 0, false},
		{"retries below none", plain, fsmtest.Bob, `,"retry_count":-1`, command.FamilyInvalidArgument, "outside 0–100", 0,
			false},
		{"of another caller", plain, fsmtest.Carol, "", command.FamilyPermissionDenied, "bob", 0, false},
		{"twice", func(w *fsmtest.World) int64 { return w.Started(fsmtest.Bob) }, fsmtest.Bob, "",
			command.CodeAlreadyStarted, "is pending", 0, false},
		{"no worker was chosen", func(w *fsmtest.World) int64 { return ready(w, `,"useanyworker":0`) }, fsmtest.Bob, "",
			command.CodeNoWorkerSelected, "none was added", 0, false},
		{"the project was deployed again", func(w *fsmtest.World) int64 {
			id := ready(w, "")
			w.Deploy(fsmtest.Project("nightly"))
			return id
		}, fsmtest.Bob, "", command.CodeRedeployed, "deployed again", 0, false},
		{"deployed again, and no worker was chosen", func(w *fsmtest.World) int64 {
			id := ready(w, `,"useanyworker":0`)
			w.Deploy(fsmtest.Project("nightly"))
			return id
		}, fsmtest.Bob, "", command.CodeRedeployed, "deployed again", 0, false},
		{"the project was deleted", func(w *fsmtest.World) int64 {
			id := ready(w, "")
			w.Ok(fsmtest.Alice, "delete_project", `{"folder_name":"ETL","project_name":"nightly"}`)
			return id
		}, fsmtest.Bob, "", command.CodeRedeployed, "deleted", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := fsmtest.NewWorld(t)
			w.Deploy(fsmtest.Project("nightly"))
			w.Register(fsmtest.WorkerOne, "m1")
			id := c.make(w)
			arguments := fmt.Sprintf(`{"execution_id":%d%s}`, id, c.more)
			if c.code != "" {
				w.Refuses(c.caller, start, arguments, c.code, c.says)
				return
			}
			a := w.Ok(c.caller, start, "%s", arguments)
			want := command.StartExecution{ExecutionID: id, RetryCount: c.retries, RetryDelayMs: 5000}
			if got := *a.Command.(*command.StartExecution); got != want {
				t.Errorf("it starts as %+v, want %+v", got, want)
			}
			if (a.Wait == id) != c.waits || (a.Wait == 0) == c.waits {
				t.Errorf("the caller waits for %d", a.Wait)
			}
		})
	}
}

// A project stays while an execution of it waits or runs.
func TestAProjectInUseStays(t *testing.T) {
	const remove, project = "delete_project", `{"folder_name":"ETL","project_name":"nightly"}`
	for _, c := range []struct {
		name  string
		use   func(*fsmtest.World)
		inUse bool
	}{
		{"nothing uses it", func(*fsmtest.World) {}, false},
		{"created", func(w *fsmtest.World) { ready(w, "") }, false},
		{"pending", func(w *fsmtest.World) { w.Started(fsmtest.Bob) }, true},
		{"running", func(w *fsmtest.World) { w.Grant(w.Started(fsmtest.Bob), 1, fsmtest.WorkerOne, "m1") }, true},
		{"stopped", func(w *fsmtest.World) {
			w.Ok(fsmtest.Bob, "stop_operation", `{"operation_id":%d}`, w.Started(fsmtest.Bob))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := fsmtest.NewWorld(t)
			w.Deploy(fsmtest.Project("nightly"))
			w.Register(fsmtest.WorkerOne, "m1")
			c.use(w)
			_, err := w.Call(fsmtest.Alice, remove, project)
			if !c.inUse {
				if err != nil {
					t.Error(err)
				}
				return
			}
			fsmtest.Rejected(t, err, command.CodeProjectInUse)
		})
	}
}

func TestAddExecutionWorker(t *testing.T) {
	const add = "add_execution_worker"
	chosen := func(w *fsmtest.World) int64 { return ready(w, `,"useanyworker":0`) }
	for _, c := range []struct {
		name       string
		make       func(*fsmtest.World) int64 // the execution
		caller     command.Caller
		worker     string
		code, says string // "": the execution then has one worker
	}{
		{"added", chosen, fsmtest.Bob, fsmtest.WorkerOne, "", ""},
		{"braces and small letters", chosen, fsmtest.Bob, "{" + strings.ToLower(fsmtest.WorkerOne) + "}", "", ""},
		{"twice", func(w *fsmtest.World) int64 {
			id := chosen(w)
			w.Ok(fsmtest.Bob, add, `{"execution_id":%d,"WorkerAgent_Id":%q}`, id, fsmtest.WorkerOne)
			return id
		}, fsmtest.Bob, fsmtest.WorkerOne, "", ""},
		{"no worker", chosen, fsmtest.Bob, fsmtest.WorkerTwo, command.CodeWorkerNotFound, fsmtest.WorkerTwo},
		{"no id", chosen, fsmtest.Bob, "m1", command.FamilyInvalidArgument, `"m1" is not a valid uniqueidentifier`},
		{"no execution", func(*fsmtest.World) int64 { return 9 }, fsmtest.Bob, fsmtest.WorkerOne,
			command.CodeExecutionNotFound, "9"},
		{"of another caller", chosen, fsmtest.Carol, fsmtest.WorkerOne, command.FamilyPermissionDenied, "bob"},
		{"any worker", func(w *fsmtest.World) int64 { return ready(w, "") }, fsmtest.Bob, fsmtest.WorkerOne,
			command.CodeAnyWorker, "useanyworker 0"},
		{"not in Scale Out", func(w *fsmtest.World) int64 { return ready(w, `,"runinscaleout":0`) }, fsmtest.Bob,
			fsmtest.WorkerOne, command.CodeNotScaleOut, "not in Scale Out"},
		{"once it is started", func(w *fsmtest.World) int64 {
			id := chosen(w)
			w.Ok(fsmtest.Bob, add, `{"execution_id":%d,"workeragent_id":%q}`, id, fsmtest.WorkerOne)
			w.Ok(fsmtest.Bob, "start_execution", `{"execution_id":%d}`, id)
			return id
		}, fsmtest.Bob, fsmtest.WorkerOne, command.CodeAlreadyStarted, "pending"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := fsmtest.NewWorld(t)
			w.Deploy(fsmtest.Project("nightly"))
			w.Register(fsmtest.WorkerOne, "m1")
			id := c.make(w)
			arguments := fmt.Sprintf(`{"execution_id":%d,"workeragent_id":%q}`, id, c.worker)
			if c.code != "" {
				w.Refuses(c.caller, add, arguments, c.code, c.says)
				return
			}
			w.Ok(c.caller, add, "%s", arguments)
			if e, _ := w.State.Reader().Execution(id); len(e.Workers) != 1 {
				t.Errorf("workers %v, want one", e.Workers)
			}
		})
	}
}

func TestStopOperation(t *testing.T) {
	const stop = "stop_operation"
	started := func(w *fsmtest.World) int64 { return w.Started(fsmtest.Bob) }
	running := func(w *fsmtest.World) int64 {
		id := started(w)
		w.Grant(id, 1, fsmtest.WorkerOne, "m1")
		return id
	}
	for _, c := range []struct {
		name       string
		make       func(*fsmtest.World) int64 // the operation
		caller     command.Caller
		becomes    string // "": it is refused
		code, says string
	}{
		{"created", func(w *fsmtest.World) int64 { return w.Create(fsmtest.Bob, "") }, fsmtest.Bob, "canceled", "", ""},
		{"pending", started, fsmtest.Bob, "canceled", "", ""},
		{"running", running, fsmtest.Bob, "stopping", "", ""},
		{"no operation", func(*fsmtest.World) int64 { return 99 }, fsmtest.Bob, "", command.CodeOperationNotFound,
			"no operation 99"},
		{"a deployment", func(w *fsmtest.World) int64 {
			return w.Deploy(fsmtest.Project("weekly")).Outputs["operation_id"].(int64)
		}, fsmtest.Alice, "", command.CodeAlreadyEnded, "only executions"},
		{"of another caller", started, fsmtest.Carol, "", command.FamilyPermissionDenied, "bob"},
		{"ended", func(w *fsmtest.World) int64 {
			id := running(w)
			w.Report(id, 1, fsmtest.WorkerOne, "m1", command.Succeeded, 0)
			return id
		}, fsmtest.Alice, "", command.CodeAlreadyEnded, "it is succeeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := fsmtest.NewWorld(t)
			w.Deploy(fsmtest.Project("nightly"))
			w.Register(fsmtest.WorkerOne, "m1")
			arguments := fmt.Sprintf(`{"operation_id":%d}`, c.make(w))
			if c.becomes == "" {
				w.Refuses(c.caller, stop, arguments, c.code, c.says)
				return
			}
			w.Ok(c.caller, stop, "%s", arguments)
			w.Refuses(c.caller, stop, arguments, command.CodeAlreadyStopped, "is "+c.becomes+`: "bob" stopped it`)
		})
	}
}
