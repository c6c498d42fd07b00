package catalog

import (
	"strconv"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// Option is one server option of an execution (object type 50).
type Option struct {
	Name    string
	Type    string // the SSISDB name of its data type
	initial string // what holds while nobody sets it; "" none
	wrong   func(o *Option, text string) *command.Rejection
	doc     string
}

const (
	optionSynchronized = "SYNCHRONIZED"
	OptionQueueTimeout = "QUEUE_TIMEOUT"
	optionRunTimeout   = "RUN_TIMEOUT"
)

// maxTimeout is the longest time that QUEUE_TIMEOUT and RUN_TIMEOUT take.
const maxTimeout = 366 * 24 * time.Hour

// options are the documented ones and two of ours, in the order in which execution_parameter_values lists them.
var options = []Option{
	{Name: "CALLER_INFO", Type: "String", wrong: longerThan(4000), doc: "free text about who asked"},
	{Name: "CUSTOMIZED_LOGGING_LEVEL", Type: "String", wrong: longerThan(128),
		doc: "the level that LOGGING_LEVEL 100 names"},
	{Name: "DUMP_EVENT_CODE", Type: "String", wrong: longerThan(4000), doc: "event codes, separated by semicolons"},
	{Name: "DUMP_ON_ERROR", Type: "Boolean", initial: "false", doc: "whether an error makes a dump"},
	{Name: "DUMP_ON_EVENT", Type: "Boolean", initial: "false", doc: "whether the events of DUMP_EVENT_CODE make a dump"},
	{Name: "LOGGING_LEVEL", Type: "Int32", initial: "1", wrong: noLoggingLevel,
		doc: "0 none, 1 basic, 2 performance, 3 verbose, 4 runtime lineage, 100 customized"},
	{Name: OptionQueueTimeout, Type: "Int32", wrong: noTimeout,
		doc: "ours: how many seconds an attempt may wait for a worker before the execution fails; 0 or none: for ever"},
	{Name: optionRunTimeout, Type: "Int32", wrong: noTimeout,
		doc: "ours: how many seconds an attempt may run before it is ended and counts as failed; 0 or none: for ever"},
	{Name: optionSynchronized, Type: "Boolean", initial: "false", doc: "whether start_execution waits for the end"},
}

// Options returns the options of an execution. The slice must not be changed.
func Options() []Option { return options }

// FindOption finds an option by its name, or refuses.
func FindOption(name string) (*Option, *command.Rejection) {
	names := make([]string, len(options))
	for i := range options {
		if sqltype.EqualText(options[i].Name, name) {
			return &options[i], nil
		}
		names[i] = options[i].Name
	}
	return nil, command.Refuse(command.CodeOptionNotFound, name, names)
}

// Check holds the rules for a value of the option; nil means that it takes the value.
func (o *Option) Check(v command.Value) *command.Rejection {
	switch {
	case v.Type != o.Type:
		return command.Refuse(command.CodeParameterType, o.Name, o.Type, v.Type)
	case v.Sealed != nil:
		return command.Refuse(command.CodeParameterSealed, o.Name)
	case o.wrong == nil:
		return nil
	}
	return o.wrong(o, v.Text)
}

func longerThan(n int) func(*Option, string) *command.Rejection {
	return func(o *Option, text string) *command.Rejection {
		if have := sqltype.Characters(text); have > n {
			return command.Refuse(command.CodeOptionLong, o.Name, have, n)
		}
		return nil
	}
}

// noTimeout checks a bound of an execution.
func noTimeout(o *Option, text string) *command.Rejection {
	n, err := strconv.ParseInt(text, 10, 64)
	if most := int64(maxTimeout / time.Second); err != nil || n < 0 || n > most {
		return command.Refuse(command.CodeOptionSeconds, o.Name, text, most)
	}
	return nil
}

func noLoggingLevel(o *Option, text string) *command.Rejection {
	switch text {
	case "0", "1", "2", "3", "4", "100":
		return nil
	}
	return command.Refuse(command.CodeOptionLevel, o.Name, text)
}

// timeout is an option's value in time; 0 when there is none.
func timeout(e *Execution, name string) time.Duration {
	v, ok := ValueOf(e, ObjectExecution, name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// Value is the option's value for an execution: the one set, else the initial one, else nil.
func (o *Option) Value(e *Execution) *command.Value {
	if v, ok := ValueOf(e, ObjectExecution, o.Name); ok {
		return v
	}
	if o.initial == "" {
		return nil
	}
	return &command.Value{Type: o.Type, Text: o.initial}
}

// Synchronized reports whether the caller of start_execution waits for the execution's end.
func Synchronized(e *Execution) bool {
	v, ok := ValueOf(e, ObjectExecution, optionSynchronized)
	return ok && v.Text == "true"
}
