package procedure_test

import (
	"testing"

	"scaleout/fsm/fsmtest"
	"scaleout/fsm/procedure"
	"scaleout/fsm/sqltype"
)

// Neither what a door received nor what it became shows the value of a sensitive parameter.
func TestSensitiveArgumentsAreHidden(t *testing.T) {
	for _, c := range []struct{ name, procedure, object, secret string }{
		{"a text", "deploy_project",
			`{"folder_name":"F","project_name":"P","project_stream":"","project_password":"hunter2"}`, "hunter2"},
		{"a text of a sql_variant", "set_execution_parameter_value",
			`{"execution_id":1,"object_type":20,"parameter_name":"x","parameter_value":"hunter2"}`, "hunter2"},
		{"a number of a sql_variant", "set_execution_parameter_value",
			`{"execution_id":1,"object_type":20,"parameter_name":"x","parameter_value":8675309.25}`, "8675309.25"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := fsmtest.Raw(t, c.object)
			p, _ := procedure.Named(c.procedure)
			args, err := p.Bind(raw)
			if err != nil {
				t.Fatal(err)
			}
			fsmtest.Hides(t, raw, c.secret)
			fsmtest.Hides(t, args, c.secret)
		})
	}
}

// A declaration cannot forget to hide a sensitive argument.
func TestSensitiveArgumentsAreSecrets(t *testing.T) {
	type text struct {
		Value string `param:"value,sensitive" type:"nvarchar(10)"`
	}
	type variant struct {
		Value any `param:"value,sensitive" type:"sql_variant"`
	}
	type other struct {
		Value sqltype.Secret[any] `param:"value,sensitive" type:"nvarchar(10)"`
	}
	type number struct {
		Value sqltype.Secret[any] `param:"value,sensitive" type:"int"`
	}
	type open struct {
		Value *sqltype.Secret[string] `param:"value" type:"nvarchar(10)"`
	}
	type openNumber struct {
		Value sqltype.Secret[any] `param:"value" type:"int"`
	}
	type good struct {
		Value   *sqltype.Secret[string] `param:"value,sensitive" type:"nvarchar(10)"`
		Variant sqltype.Secret[any]     `param:"variant,sensitive" type:"sql_variant"`
	}
	for _, c := range []struct {
		name    string
		declare func()
		wrong   bool
	}{
		{"a bare text", declares[text], true}, {"a bare variant", declares[variant], true},
		{"a secret of another type", declares[other], true}, {"a number", declares[number], true},
		{"a secret that is not declared so", declares[open], true},
		{"a number that is not declared so", declares[openNumber], true},
		{"secrets", declares[good], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if said := recover(); (said != nil) != c.wrong {
					t.Errorf("declaring it says %v", said)
				}
			}()
			c.declare()
		})
	}
}

func declares[A any]() { procedure.Declare(procedure.Options[A]{Name: "p"}) }
