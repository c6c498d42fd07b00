package procedure

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
	"scaleout/fsm/sqltype"
)

type setExecutionParameter struct {
	Execution  int64  `param:"execution_id" type:"bigint" doc:"the execution, as create_execution returned it"`
	ObjectType int64  `param:"object_type" type:"smallint" doc:"20 a project parameter, 30 a package parameter, 50 a server option"`
	Name       string `param:"parameter_name" type:"nvarchar(128)" doc:"the parameter; connection managers have CM. parameters"`
	// It may be the value of a sensitive parameter; which one is known only to the plan.
	Value sqltype.Secret[any] `param:"parameter_value,sensitive" type:"sql_variant" doc:"the value, of the parameter's type"`
}

// planSetExecutionParameter gives the value its declared type, and seals a sensitive one: its plaintext is seen here
// alone.
func planSetExecutionParameter(_ context.Context, call *Call, a *setExecutionParameter) (Plan, error) {
	set := &command.SetExecutionParameter{ExecutionID: a.Execution, ObjectType: int(a.ObjectType), Name: a.Name}
	e, ok := call.Reader.Execution(a.Execution)
	if !ok || !catalog.Can(call.Reader, call.Caller, command.RightModify, command.OperationObject(e.ID, e.Caller)) {
		return Plan{Command: set}, nil // the transition refuses it, and says nothing of its parameters
	}
	typ, sensitive := "", false
	if set.ObjectType == catalog.ObjectExecution {
		option, no := catalog.FindOption(a.Name)
		if no != nil {
			return Plan{}, no
		}
		set.Name, typ = option.Name, option.Type
	} else {
		declared, no := catalog.DeclaredParameter(call.Reader, e, set.ObjectType, a.Name)
		if no != nil {
			return Plan{}, no
		}
		set.Name, typ, sensitive = declared.Name, declared.Type, declared.Sensitive
	}
	value, no := ParameterValue(set.Name, typ, sensitive, a.Value.Reveal())
	if no != nil {
		return Plan{}, no
	}
	if sensitive {
		var err error
		if value.Sealed, err = call.Seal(sqltype.NewSecret(value.Text),
			catalog.SealNameExecutionValue(e.ID, set.ObjectType, set.Name)); err != nil {
			return Plan{}, fmt.Errorf("seal the value of %s: %w", set.Name, err)
		}
		value.Text = ""
	}
	set.Value = value
	return Plan{Command: set}, nil
}

// CheckOption is what set_execution_parameter_value says of a value of a server option; nil means that it takes it.
func CheckOption(name string, v any) *command.Rejection {
	option, no := catalog.FindOption(name)
	if no != nil {
		return no
	}
	value, no := ParameterValue(option.Name, option.Type, false, v)
	if no != nil {
		return no
	}
	return option.Check(value)
}

// ParameterValue gives a parameter's value the declared type. The refusal does not show the value of a sensitive one.
func ParameterValue(name, typeName string, sensitive bool, v any) (command.Value, *command.Rejection) {
	value, err := typedValue(typeName, v)
	switch {
	case err != nil && sensitive:
		return command.Value{}, command.Refuse(command.CodeSecretParameterValue, typeName, name)
	case err != nil:
		return command.Value{}, command.Refuse(command.CodeParameterValue, name, err.Error())
	}
	return value, nil
}

// typedValue gives a sql_variant argument the declared type: texts are read as the type's text; numbers fit number
// types, and 0 and 1 Boolean; true and false fit Boolean alone. The value's text is canonical. Errors quote the value.
func typedValue(typeName string, v any) (command.Value, error) {
	t, err := ispac.ParseDataType(typeName)
	if err != nil {
		return command.Value{}, err
	}
	var text string
	switch v := v.(type) {
	case string:
		text = v
		if t != ispac.String {
			text = strings.TrimSpace(v)
		}
	case json.Number:
		if t == ispac.String || t == ispac.DateTime {
			return command.Value{}, fmt.Errorf("the number %s is not a %s: quote it", sqltype.Quote(v.String()), t)
		}
		text = v.String()
	case bool:
		if t != ispac.Boolean {
			return command.Value{}, fmt.Errorf("%t is not a %s", v, t)
		}
		text = fmt.Sprint(v)
	default:
		return command.Value{}, fmt.Errorf("a %s needs a value", t)
	}
	value, err := ispac.ParseValue(t, text)
	if err != nil {
		return command.Value{}, err
	}
	canonical, err := ispac.FormatValue(t, value)
	if err != nil {
		return command.Value{}, err
	}
	return command.Value{Type: t.String(), Text: canonical}, nil
}
