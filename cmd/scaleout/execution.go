package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/httpapi/client"
)

func (a *app) executionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "execution", Short: "Executions: run, start, stop, watch, explain"}
	cmd.AddCommand(a.executionRun(), a.executionCreate(), a.executionStart(), a.executionStop(), a.executionWait(),
		a.executionShow(), a.executionLogs(), a.executionWhy(), a.executionList())
	return cmd
}

// flags adds the flags that say what is to be executed.
func (o *order) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.params, "param", nil,
		"NAME=VALUE of a package parameter, NAME=@FILE from a file, NAME=- from standard input, NAME to be asked; repeat")
	flags.StringArrayVar(&o.projectParams, "project-param", nil, "NAME=VALUE of a project parameter, likewise; repeat")
	flags.StringArrayVar(&o.options, "option", nil, "NAME=VALUE of a server option such as LOGGING_LEVEL; repeat")
	flags.StringArrayVar(&o.workers, "worker", nil, "name or id of a worker that may run it; repeat; default: any")
	flags.DurationVar(&o.queueTimeout, "queue-timeout",
		0, "an attempt that no worker takes within this time, such as 30m, fails the execution (option QUEUE_TIMEOUT)")
	flags.DurationVar(&o.runTimeout, "run-timeout",
		0, "an attempt that runs longer than this, such as 4h, is ended and counts as failed; retries apply (option "+
			"RUN_TIMEOUT)")
	flags.BoolVar(&o.use32, "use32bit", false, "run it in the 32-bit runtime")
	flags.StringVar(&o.key, "request-key", "",
		"the same key and arguments get the same execution again for 24 h, however often this is repeated")
}

// starting says how an execution is started and whether its end is waited for.
type starting struct {
	retry   int
	wait    bool
	timeout time.Duration
}

func (s *starting) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&s.retry, "retry", 0, "how often a failed or lost attempt is followed by another, 0 to 100")
	cmd.Flags().BoolVar(&s.wait, "wait", false, "wait for its end and exit with its result")
	cmd.Flags().DurationVar(&s.timeout, "timeout", 0,
		"with --wait: stop waiting after this time, such as 30m; the execution goes on")
}

// check refuses what makes no sense before anything is asked of a master.
func (s *starting) check() error {
	if s.retry < 0 || s.retry > catalog.MaxRetryCount {
		return usagef("--retry %d: want 0 to %d", s.retry, catalog.MaxRetryCount)
	}
	return waits(s.wait, s.timeout)
}

// waits checks the flags --wait and --timeout.
func waits(wait bool, timeout time.Duration) error {
	switch {
	case timeout != 0 && !wait:
		return usagef("--timeout bounds --wait, which is missing")
	case timeout < 0:
		return usagef("--timeout %v: want a time such as 30m, or 0 for no bound", timeout)
	}
	return nil
}

func (a *app) executionRun() *cobra.Command {
	var o order
	var s starting
	cmd := &cobra.Command{
		Use: "run FOLDER/PROJECT/PACKAGE", Short: "Create an execution and start it", Args: cobra.ExactArgs(1),
		Long: `Create an execution and start it.

With --wait it shows progress, ends when the execution ends, and its exit code is the result:
0 succeeded, 3 failed or ended unexpectedly, 4 canceled, 5 still going on after --timeout, 6 no leader or unreachable.
So it can be a step of SQL Agent or cron.

The value of a parameter need not stand on the command line, where other users can see it and where shells keep it:
NAME=@FILE reads a file, NAME=- standard input, NAME alone asks without showing what is typed. One line end at the end
of a file is left out. A value that begins with @ is written with @@. A sensitive parameter that is required and not
given is asked for when there is a terminal. Folder, project, package, parameters, types and required values are
checked before anything is created.`,
		Example: `  scaleout execution run ETL/Sales/Load.dtsx --param Day=2026-01-31 --wait
  scaleout execution run ETL/Sales/load.sh --project-param Server=db1 --worker worker-1 --retry 2
  scaleout execution run ETL/Sales/load.sh --param Password=@/run/secrets/sales
  scaleout execution run ETL/Sales/load.sh --queue-timeout 30m --run-timeout 4h --wait
  scaleout execution run ETL/Sales/load.sh --request-key nightly-2026-01-31 --wait --timeout 2h`,
		ValidArgsFunction: a.completePath(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.read = valuesOf(cmd)
			if err := o.parse(args[0]); err != nil {
				return err
			}
			if cmd.Flags().Changed("request-key") && o.key == "" {
				return usagef("--request-key is empty: want a key that is the same each time this order is repeated")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			o.note = func(format string, args ...any) { sayf(cmd.ErrOrStderr(), format, args...) }
			id, err := o.create(cmd.Context(), c)
			if err != nil {
				return friendly(err)
			}
			if err := o.start(cmd.Context(), c, id, s.retry); err != nil {
				o.abandon(cmd.Context(), c, id)
				return friendly(err)
			}
			if !s.wait {
				return a.done(cmd, []pair{{"execution_id", id}, {"package", args[0]}}, "started execution %d of %s", id, args[0])
			}
			return a.await(cmd, c, id, s.timeout)
		},
		PreRunE: func(*cobra.Command, []string) error { return s.check() },
	}
	o.flags(cmd)
	s.flags(cmd)
	return cmd
}

func (a *app) executionCreate() *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use: "create FOLDER/PROJECT/PACKAGE", Short: "Create an execution without starting it", Args: cobra.ExactArgs(1),
		Example: `  scaleout execution create ETL/Sales/Load.dtsx --param Day=2026-01-31
  scaleout execution start 17`,
		ValidArgsFunction: a.completePath(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.read = valuesOf(cmd)
			if err := o.parse(args[0]); err != nil {
				return err
			}
			if cmd.Flags().Changed("request-key") && o.key == "" {
				return usagef("--request-key is empty: want a key that is the same each time this order is repeated")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			o.note = func(format string, args ...any) { sayf(cmd.ErrOrStderr(), format, args...) }
			id, err := o.create(cmd.Context(), c)
			if err != nil {
				return friendly(err)
			}
			return a.done(cmd, []pair{{"execution_id", id}, {"package", args[0]}}, "created execution %d of %s", id, args[0])
		},
	}
	o.flags(cmd)
	return cmd
}

func (a *app) executionStart() *cobra.Command {
	var s starting
	cmd := &cobra.Command{
		Use: "start ID", Short: "Start a created execution", Args: cobra.ExactArgs(1),
		Example:           "  scaleout execution start 17 --retry 2 --wait",
		ValidArgsFunction: a.complete(executionIDs(catalog.Created)),
		RunE: a.onExecution(func(cmd *cobra.Command, c *client.Client, id int64) error {
			if err := (&order{}).start(cmd.Context(), c, id, s.retry); err != nil {
				return friendly(err)
			}
			if !s.wait {
				return a.done(cmd, []pair{{"execution_id", id}}, "started execution %d", id)
			}
			return a.await(cmd, c, id, s.timeout)
		}),
		PreRunE: func(*cobra.Command, []string) error { return s.check() },
	}
	s.flags(cmd)
	return cmd
}

func (a *app) executionStop() *cobra.Command {
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "stop ID", Short: "Stop an execution", Args: cobra.ExactArgs(1),
		Example:           "  scaleout execution stop 17 --wait",
		ValidArgsFunction: a.complete(executionIDs(catalog.Running, catalog.Pending)),
		RunE: a.onExecution(func(cmd *cobra.Command, c *client.Client, id int64) error {
			stop := map[string]any{"operation_id": id}
			result, err := c.Call(cmd.Context(), "stop_operation", stop)
			switch {
			case code(err, command.CodeOperationNotFound):
				return noExecution(id)
			case err != nil:
				return friendly(err)
			case !wait:
				return a.done(cmd, []pair{{"return_value", result.ReturnValue}, {"output", result.Output}, {"execution_id", id}},
					"told execution %d to stop", id)
			}
			err = a.await(cmd, c, id, timeout)
			var e *statusError
			if errors.As(err, &e) && e.code == exitCanceled {
				return nil // canceled is what was asked for
			}
			return err
		}),
		PreRunE: func(*cobra.Command, []string) error { return waits(wait, timeout) },
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "with --wait: stop waiting after this time")
	return cmd
}

func (a *app) executionWait() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait ID", Short: "Wait for an execution's end and exit with its result", Args: cobra.ExactArgs(1),
		Example:           "  scaleout execution wait 17 --timeout 30m",
		ValidArgsFunction: a.complete(executionIDs(catalog.Running, catalog.Pending, catalog.Stopping)),
		RunE: a.onExecution(func(cmd *cobra.Command, c *client.Client, id int64) error {
			// Waiting outlasts a long outage, but fails at once if no master answers at the beginning.
			if _, err := execution(cmd.Context(), c, id); err != nil {
				return friendly(err)
			}
			return a.await(cmd, c, id, timeout)
		}),
		PreRunE: func(*cobra.Command, []string) error { return waits(true, timeout) },
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "stop waiting after this time; the execution goes on")
	return cmd
}

func (a *app) executionShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show an execution, its parameters and its attempts", Args: cobra.ExactArgs(1),
		Example:           "  scaleout execution show 17",
		ValidArgsFunction: a.complete(executionIDs()),
		RunE: a.onExecution(func(cmd *cobra.Command, c *client.Client, id int64) error {
			row, err := execution(cmd.Context(), c, id)
			if err != nil {
				return friendly(err)
			}
			equal := client.Query{Equal: map[string]any{"execution_id": id}, PageSize: 1000}
			values, err := collect(cmd.Context(), c, "execution_parameter_values", equal, 1000)
			if err != nil {
				return friendly(err)
			}
			attempts, err := collect(cmd.Context(), c, "tasks", equal, 1000)
			if err != nil {
				return friendly(err)
			}
			names := newWorkerLabels(c)
			names.describe(cmd.Context(), row)
			for _, r := range attempts {
				names.describe(cmd.Context(), r)
			}
			if a.output == "json" {
				return printJSON(cmd, map[string]any{"execution": row, "parameters": values, "attempts": attempts})
			}
			if err := a.object(cmd, []pair{
				{"execution_id", id}, {"package", packagePath(row)}, {"status", rowStatus(row).String()},
				{"created", moment(row, "created_time")}, {"created by", row["caller_name"]},
				{"started", moment(row, "start_time")},
				{"ended", moment(row, "end_time")}, {"took", took(row)}, {"stopped by", row["stopped_by_name"]},
				{"worker", where(row)}, {"attempts", row["executed_count"]},
			}); err != nil {
				return err
			}
			values = slices.DeleteFunc(values, func(r client.Row) bool {
				kind, _ := r.Int("object_type")
				return kind == catalog.ObjectExecution && !r.Bool("runtime_override")
			})
			if len(values) > 0 {
				fmt.Fprintln(cmd.OutOrStdout())
				if err := a.rows(cmd, values, value("Parameter", "parameter_name"), value("Type", "parameter_data_type").drop(1),
					text("Value", "parameter_value"), value("Sensitive", "sensitive").drop(4), value("Required", "required").drop(3),
					value("Given", "runtime_override").drop(2)); err != nil {
					return err
				}
			}
			if len(attempts) > 0 {
				fmt.Fprintln(cmd.OutOrStdout())
				return a.rows(cmd, attempts, number("Attempt", "attempt"),
					toned("Status", func(r client.Row) show.Cell { s := r.Text("status"); return show.Cell{Text: s, Tone: tone(s)} }),
					derived("Worker", where).drop(2), when("Granted", "granted").drop(3), when("Ended", "ended").drop(4),
					number("Exit code", "exit_code").drop(5), value("Reason", "reason").drop(6), text("Message", "message").drop(1),
					value("Machine", "machine").wide(), when("Lease until", "lease_until").wide())
			}
			return nil
		}),
	}
}

// execution reads one row of the view executions.
func execution(ctx context.Context, c *client.Client, id int64) (client.Row, error) {
	page, err := c.View(ctx, "executions", client.Query{Equal: map[string]any{"execution_id": id}})
	if err != nil {
		return nil, err
	}
	if len(page.Rows) == 0 {
		return nil, noExecution(id)
	}
	return page.Rows[0], nil
}

func noExecution(id int64) error { return fmt.Errorf("there is no execution %d", id) }

func executionID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, usagef("%q is not an execution's id; 'scaleout execution list' shows them", text)
	}
	return id, nil
}

func packagePath(r client.Row) string {
	return r.Text("folder_name") + "/" + r.Text("project_name") + "/" + r.Text("package_name")
}

// took is how long an execution ran, until its end.
func took(r client.Row) string {
	start, ok := r.Time("start_time")
	end, over := r.Time("end_time")
	if !ok || !over {
		return ""
	}
	return rounded(end.Sub(start)).String()
}

// rounded keeps about three digits.
func rounded(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < time.Minute:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// onExecution is the shape of every verb that takes an execution's id first.
func (a *app) onExecution(do func(cmd *cobra.Command, c *client.Client,
	id int64) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		id, err := executionID(args[0])
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		return do(cmd, c, id)
	}
}
