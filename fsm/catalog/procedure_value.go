package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
)

// option is one server option of an execution (object type 50).
type option struct {
	name    string
	typ     ispac.DataType
	initial string // what holds while nobody sets it; "" none
	check   func(text string) (string, error)
	doc     string
}

const (
	optionSynchronized = "SYNCHRONIZED"
	optionQueueTimeout = "QUEUE_TIMEOUT"
	optionRunTimeout   = "RUN_TIMEOUT"
)

// maxTimeout is the longest time that QUEUE_TIMEOUT and RUN_TIMEOUT take.
const maxTimeout = 366 * 24 * time.Hour

// serverOptions are the documented ones and two of ours, in the order in which execution_parameter_values lists them.
var serverOptions = []option{
	{name: "CALLER_INFO", typ: ispac.String, check: atMost(4000), doc: "free text about who asked"},
	{name: "CUSTOMIZED_LOGGING_LEVEL", typ: ispac.String, check: atMost(128), doc: "the level that LOGGING_LEVEL 100 names"},
	{name: "DUMP_EVENT_CODE", typ: ispac.String, check: atMost(4000), doc: "event codes, separated by semicolons"},
	{name: "DUMP_ON_ERROR", typ: ispac.Boolean, initial: "false", doc: "whether an error makes a dump"},
	{name: "DUMP_ON_EVENT", typ: ispac.Boolean, initial: "false", doc: "whether the events of DUMP_EVENT_CODE make a dump"},
	{name: "LOGGING_LEVEL", typ: ispac.Int32, initial: "1", check: loggingLevel, doc: "0 none, 1 basic, 2 performance, 3 verbose, 4 runtime lineage, 100 customized"},
	{name: optionQueueTimeout, typ: ispac.Int32, check: seconds, doc: "ours: how many seconds an attempt may wait for a worker before the execution fails; 0 or none: for ever"},
	{name: optionRunTimeout, typ: ispac.Int32, check: seconds, doc: "ours: how many seconds an attempt may run before it is ended and counts as failed; 0 or none: for ever"},
	{name: optionSynchronized, typ: ispac.Boolean, initial: "false", doc: "whether start_execution waits for the end"},
}

// ServerOptions are the names of the options of an execution (object type 50).
func ServerOptions() []string {
	names := make([]string, len(serverOptions))
	for i := range serverOptions {
		names[i] = serverOptions[i].name
	}
	return names
}

func atMost(n int) func(string) (string, error) {
	return func(text string) (string, error) {
		if have := characters(text); have > n {
			return "", fmt.Errorf("it has %d characters, at most %d fit", have, n)
		}
		return text, nil
	}
}

// seconds checks a bound of an execution.
func seconds(text string) (string, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if most := int64(maxTimeout / time.Second); err != nil || n < 0 || n > most {
		return "", fmt.Errorf("use seconds from 1 to %d, or 0 for no bound", most)
	}
	return text, nil
}

// timeout is an option's value in time; 0 when there is none.
func timeout(e *Execution, name string) time.Duration {
	v, ok := setValue(e, ObjectExecution, name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

func loggingLevel(text string) (string, error) {
	switch text {
	case "0", "1", "2", "3", "4", "100":
		return text, nil
	}
	return "", errors.New("use 0 none, 1 basic, 2 performance, 3 verbose, 4 runtime lineage or 100 customized")
}

func optionNamed(name string) (*option, bool) {
	for i := range serverOptions {
		if strings.EqualFold(serverOptions[i].name, name) {
			return &serverOptions[i], true
		}
	}
	return nil, false
}

func planSetExecutionParameter(_ context.Context, call *Call) (Plan, error) {
	e, err := unstarted(call)
	if err != nil {
		return Plan{}, err
	}
	objectType, name := int(call.Args.int("object_type")), call.Args.text("parameter_name")
	set := &command.SetExecutionParameter{ExecutionID: e.ID, ObjectType: objectType}
	if objectType == ObjectExecution {
		set.Name, set.Value, err = optionValue(name, call.Args["parameter_value"])
		return Plan{Command: set}, err
	}
	declared, err := declaredParameter(call.View, e, objectType, name)
	if err != nil {
		return Plan{}, err
	}
	set.Name = declared.Name
	if set.Value, err = TypedValue(declared.Type, call.Args["parameter_value"]); err != nil {
		if declared.Sensitive {
			return Plan{}, refusal(CodeInvalidArgument, "parameter_value: the value is not a valid %s for the sensitive parameter %s", declared.Type, declared.Name)
		}
		return Plan{}, refusal(CodeInvalidArgument, "parameter_value of %s: %s", declared.Name, err)
	}
	if declared.Sensitive {
		sealed, err := call.Seal([]byte(set.Value.Text), SealNameExecutionValue(e.ID, objectType, declared.Name))
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
	opt, ok := optionNamed(name)
	if !ok {
		var names []string
		for i := range serverOptions {
			names = append(names, serverOptions[i].name)
		}
		return "", command.Value{}, refusal(CodeParameterNotFound, "there is no server option %s%s", clip(name), hint(name, names))
	}
	value, err := TypedValue(opt.typ.String(), v)
	if err == nil && opt.check != nil {
		value.Text, err = opt.check(value.Text)
	}
	if err != nil {
		return "", command.Value{}, refusal(CodeInvalidArgument, "parameter_value of %s: %s", opt.name, err)
	}
	return opt.name, value, nil
}

// declaredParameter finds a parameter of the execution's project (object type 20) or package (30).
func declaredParameter(view *Reader, e *Execution, objectType int, name string) (*command.Parameter, error) {
	version, ok := view.Version(e.Version)
	if !ok {
		return nil, refusal(CodeRedeployed, "the version %d of the project %s is gone: create another execution", e.Version, clip(e.Project))
	}
	where, list := "project "+clip(e.Project), version.Manifest.Parameters
	switch objectType {
	case ObjectProject:
	case ObjectPackage:
		where, list = "package "+clip(e.Package), nil
		if pkg, ok := packageNamed(version, e.Package); ok {
			list = pkg.Parameters
		}
	default:
		return nil, refusal(CodeInvalidArgument, "object_type: %d is none of %d (project), %d (package), %d (server option)",
			objectType, ObjectProject, ObjectPackage, ObjectExecution)
	}
	var names []string
	for i := range list {
		if strings.EqualFold(list[i].Name, name) {
			return &list[i], nil
		}
		if len(names) < 20 {
			names = append(names, list[i].Name)
		}
	}
	return nil, refusal(CodeParameterNotFound, "the %s has no parameter %s%s", where, clip(name), hint(name, names))
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
			return command.Value{}, fmt.Errorf("the number %s is not a %s: quote it", clip(v.String()), t)
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

// variant is a stored value as a sql_variant column shows it; a sensitive or missing one is NULL.
func variant(v *command.Value) any {
	if v == nil || v.Sealed != nil {
		return nil
	}
	switch v.Type {
	case "Boolean":
		return v.Text == "true"
	case "String", "DateTime":
		return v.Text
	}
	return json.Number(v.Text)
}
