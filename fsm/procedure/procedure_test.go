package procedure_test

import (
	"reflect"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/view"
)

// refusal is a case of a call that must be refused.
type refusal struct {
	name       string
	caller     command.Caller
	object     string // the arguments
	code, says string
}

func refuses(w *fsmtest.World, procedure string, list ...refusal) {
	w.T.Helper()
	for _, c := range list {
		w.Case(c.name, func(*testing.T) { w.Refuses(c.caller, procedure, c.object, c.code, c.says) })
	}
}

// values are bound arguments by parameter.
type values map[string]any

func valuesOf(args any) values {
	v := reflect.ValueOf(args).Elem()
	list := values{}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("param"), ",")
		f := v.Field(i)
		switch {
		case f.Type() == reflect.TypeFor[procedure.Output](): // it is no value of a call's
		case f.Kind() == reflect.Pointer && f.IsNil():
			list[name] = nil
		case f.Kind() == reflect.Pointer:
			list[name] = f.Elem().Interface()
		default:
			list[name] = f.Interface()
		}
	}
	return list
}

func TestBind(t *testing.T) {
	const base = `"folder_name":"F","project_name":"P","package_name":"a.dtsx"`
	full := values{"folder_name": "F", "project_name": "P", "package_name": "a.dtsx", "reference_id": nil,
		"use32bitruntime": false, "runinscaleout": nil, "useanyworker": true}
	with := func(more values) values {
		a := values{}
		for k, v := range full {
			a[k] = v
		}
		for k, v := range more {
			a[k] = v
		}
		return a
	}
	for _, c := range []struct {
		name, procedure, object string
		want                    values
		code, says              string
	}{
		{"defaults", "create_execution", `{` + base + `}`, full, "", ""},
		{"any case", "create_execution", `{"FOLDER_name":"F","Project_Name":"P","package_NAME":"a.dtsx","UseAnyWorker":0}`,
			with(values{"useanyworker": false}), "", ""},
		{"NULL means the default", "create_execution",
			`{` + base + `,"useanyworker":null,"use32bitruntime":null,"reference_id":null}`, full, "", ""},
		{"bits as numbers", "create_execution", `{` + base + `,"runinscaleout":1}`, with(values{"runinscaleout": true}),
			"", ""},
		{"an output as NULL", "create_execution", `{` + base + `,"execution_id":null}`, full, "", ""},
		{"an output", "create_execution", `{` + base + `,"execution_id":5}`, nil, command.FamilyInvalidArgument,
			"execution_id is an output"},
		{"unknown", "create_execution", `{` + base + `,"pakage":"x"}`, nil, command.CodeUnknownParameter,
			`has no parameter "pakage"`},
		{"nearly", "create_execution", `{` + base + `,"useanyworkers":true}`, nil, command.CodeUnknownParameter,
			"did you mean useanyworker?"},
		{"at sign", "create_execution", `{"@folder_name":"F"}`, nil, command.CodeUnknownParameter,
			"write folder_name, without a prefix"},
		{"missing", "create_execution", `{"folder_name":"F","project_name":"P"}`, nil, command.CodeMissingParameter,
			"package_name (nvarchar(260))"},
		{"required NULL", "create_execution", `{"Folder_Name":null,"project_name":"P","package_name":"x"}`, nil,
			command.FamilyInvalidArgument, "Folder_Name must not be NULL"},
		{"twice", "create_execution", `{` + base + `,"FOLDER_NAME":"G"}`, nil, command.FamilyInvalidArgument, "given twice"},
		{"wrong type", "create_execution", `{` + base + `,"useanyworker":"yes"}`, nil, command.FamilyInvalidArgument,
			`useanyworker: "yes" is not a valid bit: use true or false`},
		{"too long", "create_folder", `{"folder_name":"` + strings.Repeat("x", 129) + `"}`, nil,
			command.FamilyInvalidArgument, "129 characters, at most 128"},
		{"no parameters", "enable_scaleout", `{}`, values{}, "", ""},
		{"too many", "enable_scaleout", `{"x":1}`, nil, command.CodeUnknownParameter, "it has none"},
		{"a secret is not shown", "deploy_project",
			`{"folder_name":"F","project_name":"P","project_stream":"","project_password":17923}`, nil,
			command.FamilyInvalidArgument, "project_password is not a valid nvarchar(256): use a text"},
		{"a value may be a secret", "set_execution_parameter_value",
			`{"execution_id":1,"object_type":20,"parameter_name":"x","parameter_value":["hush"]}`, nil,
			command.FamilyInvalidArgument, "parameter_value is not a valid sql_variant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, ok := procedure.Named(c.procedure)
			if !ok {
				t.Fatal("no such procedure")
			}
			got, err := p.Bind(fsmtest.Raw(t, c.object))
			if c.code == "" {
				if err != nil || !reflect.DeepEqual(valuesOf(got), c.want) {
					t.Fatalf("got %v, %v; want %v", got, err, c.want)
				}
				return
			}
			r := fsmtest.Rejected(t, err, c.code)
			if !strings.Contains(registry.Detail(registry.HTTP, r), c.says) || strings.Contains(r.Error(), "17923") ||
				strings.Contains(r.Error(), "hush") {
				t.Fatalf("%q does not say %q", registry.Detail(registry.HTTP, r), c.says)
			}
		})
	}
}

// Who may call what: every procedure, every role.
func TestPermissionMatrix(t *testing.T) {
	const a, e, l = command.RoleAdmin, command.RoleExecutor, command.RoleReader
	const m, w, none = command.RoleMonitor, command.RoleWorker, ""
	admins, executors := a, a+" "+e
	procedures := map[string]string{
		"create_folder": admins, "delete_folder": admins, "rename_folder": admins, "set_folder_description": admins,
		"deploy_project": admins, "delete_project": admins,
		"enable_worker_agent": admins, "disable_worker_agent": admins, "set_worker_agent_property": admins,
		"delete_worker_agent": admins, "enable_scaleout": admins,
		"create_execution": executors, "add_execution_worker": executors, "set_execution_parameter_value": executors,
		"start_execution": executors, "stop_operation": executors,
	}
	everyone, reading := strings.Join([]string{a, e, l, m, w, none}, " "), strings.Join([]string{a, e, l, m}, " ")
	viewRoles := map[string]string{
		"master_properties": everyone, "master_nodes": everyone, "worker_agents": executors, "catalog_properties": admins,
		"folders": reading, "projects": reading, "object_versions": reading, "packages": reading,
		"object_parameters": reading,
		"executions":        reading, "execution_parameter_values": reading, "operations": reading,
		"operation_messages": reading,
		"tasks":              reading,
	}
	check := func(name, allowed string, authorize func(command.Caller) error) {
		t.Run(name, func(t *testing.T) {
			for _, role := range []string{a, e, l, m, w, none} {
				caller := command.Caller{Kind: "user", Name: "x"}
				if role != "" {
					caller.Roles = []string{role}
				}
				want := strings.Contains(" "+allowed+" ", " "+role+" ") && role != "" || allowed == everyone
				if err := authorize(caller); (err == nil) != want {
					t.Errorf("the role %q: %v", role, err)
				}
			}
			for _, kind := range []string{"worker", "master", ""} {
				if err := authorize(command.Caller{Kind: kind, Name: "x", Roles: []string{a}}); err == nil {
					t.Errorf("it is open to a certificate of kind %q", kind)
				}
			}
		})
	}
	for _, p := range procedure.All() {
		check(p.Name, procedures[p.Name], func(c command.Caller) error { return p.Authorize(nil, c) })
		check(p.Name+" (plan)", procedures[p.Name], func(c command.Caller) error {
			if p.Authorize(nil, c) == nil {
				return nil
			}
			_, err := p.Plan(t.Context(), &procedure.Call{Caller: c}, nil)
			return err
		})
	}
	for _, v := range view.All() {
		check(v.Name, viewRoles[v.Name], func(c command.Caller) error { return v.Authorize(nil, c) })
	}
}
