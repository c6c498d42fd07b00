package catalog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// Option is one server option of an execution (object type 50).
type Option struct {
	Name    string
	Typ     string // the SSISDB name of its data type
	initial string // what holds while nobody sets it; "" none
	Check   func(text string) (string, error)
	doc     string
}

const (
	optionSynchronized = "SYNCHRONIZED"
	OptionQueueTimeout = "QUEUE_TIMEOUT"
	optionRunTimeout   = "RUN_TIMEOUT"
)

// maxTimeout is the longest time that QUEUE_TIMEOUT and RUN_TIMEOUT take.
const maxTimeout = 366 * 24 * time.Hour

// ServerOptions are the documented ones and two of ours, in the order in which execution_parameter_values lists them.
var ServerOptions = []Option{
	{Name: "CALLER_INFO", Typ: "String", Check: atMost(4000), doc: "free text about who asked"},
	{Name: "CUSTOMIZED_LOGGING_LEVEL", Typ: "String", Check: atMost(128), doc: "the level that LOGGING_LEVEL 100 names"},
	{Name: "DUMP_EVENT_CODE", Typ: "String", Check: atMost(4000), doc: "event codes, separated by semicolons"},
	{Name: "DUMP_ON_ERROR", Typ: "Boolean", initial: "false", doc: "whether an error makes a dump"},
	{Name: "DUMP_ON_EVENT", Typ: "Boolean", initial: "false", doc: "whether the events of DUMP_EVENT_CODE make a dump"},
	{Name: "LOGGING_LEVEL", Typ: "Int32", initial: "1", Check: loggingLevel, doc: "0 none, 1 basic, 2 performance, 3 verbose, 4 runtime lineage, 100 customized"},
	{Name: OptionQueueTimeout, Typ: "Int32", Check: seconds, doc: "ours: how many seconds an attempt may wait for a worker before the execution fails; 0 or none: for ever"},
	{Name: optionRunTimeout, Typ: "Int32", Check: seconds, doc: "ours: how many seconds an attempt may run before it is ended and counts as failed; 0 or none: for ever"},
	{Name: optionSynchronized, Typ: "Boolean", initial: "false", doc: "whether start_execution waits for the end"},
}

// ServerOptionNames are the names of the options of an execution (object type 50).
func ServerOptionNames() []string {
	names := make([]string, len(ServerOptions))
	for i := range ServerOptions {
		names[i] = ServerOptions[i].Name
	}
	return names
}

func atMost(n int) func(string) (string, error) {
	return func(text string) (string, error) {
		if have := sqltype.Characters(text); have > n {
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
func Timeout(e *Execution, name string) time.Duration {
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

func loggingLevel(text string) (string, error) {
	switch text {
	case "0", "1", "2", "3", "4", "100":
		return text, nil
	}
	return "", errors.New("use 0 none, 1 basic, 2 performance, 3 verbose, 4 runtime lineage or 100 customized")
}

func OptionNamed(name string) (*Option, bool) {
	for i := range ServerOptions {
		if strings.EqualFold(ServerOptions[i].Name, name) {
			return &ServerOptions[i], true
		}
	}
	return nil, false
}

// value is the option's value for an execution: the one set, else the initial one, else nil.
func (o *Option) Value(e *Execution) *command.Value {
	if v, ok := ValueOf(e, ObjectExecution, o.Name); ok {
		return v
	}
	if o.initial == "" {
		return nil
	}
	return &command.Value{Type: o.Typ, Text: o.initial}
}

// Synchronized reports whether the caller of start_execution waits for the execution's end.
func Synchronized(e *Execution) bool {
	v, ok := ValueOf(e, ObjectExecution, optionSynchronized)
	return ok && v.Text == "true"
}
