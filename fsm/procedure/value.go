package procedure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
	"scaleout/fsm/sqltype"
)

func planSetExecutionParameter(_ context.Context, call *Call) (Plan, error) {
	e, err := unstarted(call)
	if err != nil {
		return Plan{}, err
	}
	objectType, name := int(call.Args.int("object_type")), call.Args.text("parameter_name")
	set := &command.SetExecutionParameter{ExecutionID: e.ID, ObjectType: objectType}
	if objectType == catalog.ObjectExecution {
		set.Name, set.Value, err = optionValue(name, call.Args["parameter_value"])
		return Plan{Command: set}, err
	}
	declared, err := catalog.DeclaredParameter(call.View, e, objectType, name)
	if err != nil {
		return Plan{}, err
	}
	set.Name = declared.Name
	if set.Value, err = TypedValue(declared.Type, call.Args["parameter_value"]); err != nil {
		if declared.Sensitive {
			return Plan{}, command.Refuse(command.CodeInvalidArgument, "parameter_value: the value is not a valid %s for the sensitive parameter %s", declared.Type, declared.Name)
		}
		return Plan{}, command.Refuse(command.CodeInvalidArgument, "parameter_value of %s: %s", declared.Name, err)
	}
	if declared.Sensitive {
		sealed, err := call.Seal([]byte(set.Value.Text), catalog.SealNameExecutionValue(e.ID, objectType, declared.Name))
		if err != nil {
			return Plan{}, fmt.Errorf("seal the value of %s: %w", declared.Name, err)
		}
		set.Value = command.Value{Type: set.Value.Type, Sealed: sealed}
	}
	return Plan{Command: set}, nil
}

// CheckOption reports whether set_execution_parameter_value takes the value for the server option of that name; the error
// says what is wrong, as the procedure would.
func CheckOption(name string, v any) error {
	_, _, err := optionValue(name, v)
	var no *command.Rejection
	if errors.As(err, &no) {
		return errors.New(no.Detail)
	}
	return err
}

func optionValue(name string, v any) (string, command.Value, error) {
	opt, ok := catalog.OptionNamed(name)
	if !ok {
		var names []string
		for i := range catalog.ServerOptions {
			names = append(names, catalog.ServerOptions[i].Name)
		}
		return "", command.Value{}, command.Refuse(command.CodeParameterNotFound, "there is no server option %s%s", sqltype.Quote(name), command.Hint(name, names))
	}
	value, err := TypedValue(opt.Typ, v)
	if err == nil && opt.Check != nil {
		value.Text, err = opt.Check(value.Text)
	}
	if err != nil {
		return "", command.Value{}, command.Refuse(command.CodeInvalidArgument, "parameter_value of %s: %s", opt.Name, err)
	}
	return opt.Name, value, nil
}

// TypedValue gives a sql_variant argument the declared type: texts are read as the type's text; numbers fit number
// types, and 0 and 1 Boolean; true and false fit Boolean alone. The value's text is canonical. Errors quote the value.
func TypedValue(typeName string, v any) (command.Value, error) {
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
