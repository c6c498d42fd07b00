package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
)

// order is a request to execute a package.
type order struct {
	folder, project, pkg           string
	params, projectParams, options []string
	workers                        []string
	use32                          bool
	key                            string
	queueTimeout, runTimeout       time.Duration // 0: no bound

	values []assignment
	read   *values                          // where values that are not on the command line come from
	note   func(format string, args ...any) // shows a remark about a value; may be nil
}

// assignment is a value for one parameter.
type assignment struct {
	objectType int
	name, text string
	from       origin
}

// parse splits the command line before any master is called.
func (o *order) parse(path string) error {
	var err error
	if o.folder, o.project, o.pkg, err = packageOf(path); err != nil {
		return err
	}
	if o.read == nil {
		o.read = &values{in: strings.NewReader("")}
	}
	for _, list := range []struct {
		objectType int
		flag       string
		given      []string
	}{{catalog.ObjectPackage, "param", o.params}, {catalog.ObjectProject, "project-param",
		o.projectParams}, {catalog.ObjectExecution, "option", o.options}} {
		for _, g := range list.given {
			name, text, from, err := o.read.split("--"+list.flag, g, false)
			if err != nil {
				return err
			}
			o.values = append(o.values, assignment{list.objectType, name, text, from})
		}
	}
	bounds := map[string]string{} // the flags that set an option, by its key
	for _, bound := range []struct {
		flag, option string
		given        time.Duration
	}{{"queue-timeout", "QUEUE_TIMEOUT", o.queueTimeout}, {"run-timeout", "RUN_TIMEOUT", o.runTimeout}} {
		if bound.given < 0 {
			return usagef("--%s %v: want a time such as 90s, 30m or 4h, or 0 for no bound", bound.flag, bound.given)
		}
		if bound.given > 0 {
			seconds := int64((bound.given + time.Second - 1) / time.Second) // the masters count in whole ones
			o.values = append(o.values, assignment{catalog.ObjectExecution, bound.option, strconv.FormatInt(seconds, 10), plain})
			bounds[parameterKey(catalog.ObjectExecution, bound.option)] = bound.flag
		}
	}
	given := map[string]bool{}
	for _, v := range o.values {
		if given[v.key()] {
			if flag := bounds[v.key()]; flag != "" {
				return usagef("--%s and --option %s set the same option: give one of them", flag, v.name)
			}
			return usagef("%s %s is given twice", scopes[v.objectType].flag, v.name)
		}
		given[v.key()] = true
	}
	return nil
}

// call is one step of an order. With a key of the caller's, each step has its own part of it, so that a repeated order
// takes up where the first one ended.
func (o *order) call(ctx context.Context, c *client.Client, step, procedure string,
	args map[string]any) (client.Result, error) {
	var opts []client.CallOption
	if o.key != "" {
		opts = append(opts, client.WithKey(o.key+"/"+step))
	}
	return c.Call(ctx, procedure, args, opts...)
}

// create creates the execution with its parameters and workers. If a later step is refused, it cancels the execution.
func (o *order) create(ctx context.Context, c *client.Client) (int64, error) {
	types, err := o.check(ctx, c)
	if err != nil {
		return 0, err
	}
	return o.createTyped(ctx, c, types)
}

// createTyped is create for a caller who knows the parameters' types.
func (o *order) createTyped(ctx context.Context, c *client.Client, types map[string]string) (int64, error) {
	var workers []string
	for _, w := range o.workers {
		id, err := workerID(ctx, c, w)
		if err != nil {
			return 0, err
		}
		workers = append(workers, id)
	}
	result, err := o.call(ctx, c, "create", "create_execution", map[string]any{
		"folder_name": o.folder, "project_name": o.project, "package_name": o.pkg,
		"use32bitruntime": o.use32, "runinscaleout": true, "useanyworker": len(workers) == 0,
	})
	if err != nil {
		return 0, err
	}
	id, ok := result.Int("execution_id")
	if !ok {
		return 0, fmt.Errorf("create_execution returned no execution_id: %v", result.Output)
	}
	if err := o.fill(ctx, c, id, types, workers); err != nil {
		o.abandon(ctx, c, id)
		return 0, err
	}
	return id, nil
}

// abandon cancels an execution that could not be prepared or started. With a key of the caller's it stays: the order
// will come again. One that did start, though the answer was lost, runs.
func (o *order) abandon(ctx context.Context, c *client.Client, id int64) {
	if o.key != "" {
		return
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if row, err := execution(cleanup, c, id); err == nil {
		if rowStatus(row) == catalog.Created {
			_, _ = c.Call(cleanup, "stop_operation", map[string]any{"operation_id": id})
		}
	}
}

func (o *order) fill(ctx context.Context, c *client.Client, id int64, types map[string]string, workers []string) error {
	for _, v := range o.values {
		_, err := o.call(ctx, c, fmt.Sprintf("set/%d/%s", v.objectType, v.name), "set_execution_parameter_value",
			map[string]any{
				"execution_id": id, "object_type": v.objectType, "parameter_name": v.name,
				"parameter_value": parameterValue(types[v.key()], v.text),
			})
		if err != nil {
			return err
		}
	}
	for _, w := range workers {
		if _, err := o.call(ctx, c, "worker/"+w, "add_execution_worker",
			map[string]any{"execution_id": id, "workeragent_id": w}); err != nil {
			return err
		}
	}
	return nil
}

func (o *order) start(ctx context.Context, c *client.Client, id int64, retry int) error {
	_, err := o.call(ctx, c, "start", "start_execution", map[string]any{"execution_id": id, "retry_count": retry})
	return err
}

func (v assignment) key() string { return parameterKey(v.objectType, v.name) }

func parameterKey(objectType int, name string) string {
	return fmt.Sprintf("%d/%s", objectType, sqltype.Fold(name))
}

// parameterValue is text as JSON of the declared type: what is a number or a truth value there is one here. What does
// not fit goes as text, for the masters to name. Server options declare none, so they are what they look like.
func parameterValue(dataType, text string) any {
	switch dataType {
	case "String", "DateTime":
		return text
	case "Boolean":
		switch strings.ToLower(text) {
		case "true", "1":
			return true
		case "false", "0":
			return false
		}
		return text
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err == nil && !dec.More() {
		switch v := v.(type) {
		case json.Number:
			return v
		case bool:
			if dataType == "" {
				return v
			}
		}
	}
	return text
}
