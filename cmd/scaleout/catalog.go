package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

func (a *app) catalogCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "catalog", Short: "The SSISDB catalog as it is: every view and every procedure"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "views", Short: "List the views", Args: cobra.NoArgs,
			Example: "  scaleout catalog views",
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := a.client()
				if err != nil {
					return err
				}
				views, err := c.Views(cmd.Context())
				if err != nil {
					return friendly(err)
				}
				if a.output == "json" {
					return printJSON(cmd, views)
				}
				var body [][]any
				for _, v := range views {
					body = append(body, []any{v.Name, len(v.Columns), v.Doc})
				}
				a.table(cmd, heads("Name", "Columns", "What"), body)
				return nil
			},
		},
		&cobra.Command{
			Use: "procedures", Short: "List the procedures with their parameters", Args: cobra.NoArgs,
			Example: "  scaleout catalog procedures\n  scaleout catalog procedures -o json",
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := a.client()
				if err != nil {
					return err
				}
				procedures, err := c.Procedures(cmd.Context())
				if err != nil {
					return friendly(err)
				}
				if a.output == "json" {
					return printJSON(cmd, procedures)
				}
				var body [][]any
				for _, p := range procedures {
					body = append(body, []any{p.Name, parameters(p), p.Doc})
				}
				a.table(cmd, []show.Column{{Head: "Name"}, {Head: "Parameters", Wrap: true}, {Head: "What", Wrap: true, Drop: 1}},
					body)
				return nil
			},
		},
		a.catalogView(), a.catalogCall(),
	)
	return cmd
}

func parameters(p wire.Procedure) string {
	var out []string
	for _, x := range p.Parameters {
		switch {
		case x.Output:
			out = append(out, x.Name+" OUTPUT")
		case x.Required:
			out = append(out, x.Name)
		default:
			out = append(out, "["+x.Name+"]")
		}
	}
	return strings.Join(out, " ")
}

func (a *app) catalogView() *cobra.Command {
	var order, columns string
	var limit int
	var stale bool
	cmd := &cobra.Command{
		Use: "view VIEW [column=value]…", Short: "Read rows of a view", Args: cobra.MinimumNArgs(1),
		Long: `Read rows of a view: those for which all conditions hold. column=value compares without case, and null stands
for NULL; the same column again means any of the values. column.OPERATOR=value compares in other ways: ne (not equal;
.ne=null is IS NOT NULL), lt, le, gt, ge, and like, where % is any text, _ one character and [a-z] or [^a-z] one of a
set.`,
		Example: `  scaleout catalog view executions status=4 status=6 --order -execution_id --limit 20
  scaleout catalog view executions created_time.ge=2026-01-31T00:00:00Z 'package_name.like=Load%' \
    --columns execution_id,status`,
		ValidArgsFunction: a.completeView,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return usagef("--limit %d: want 1 or more", limit)
			}
			q := client.Query{Stale: stale, PageSize: min(limit, 1000)}
			var err error
			if q.Where, err = conditions(args[1:]); err != nil {
				return err
			}
			if columns != "" {
				q.Columns = splitList(columns)
			}
			if order != "" {
				q.Order = splitList(order)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var rows []client.Row
			var shown []wire.ResultColumn
			for len(rows) < limit {
				page, err := c.View(cmd.Context(), args[0], q)
				if err != nil {
					return friendly(err)
				}
				shown = page.Columns
				rows = append(rows, page.Rows...)
				if q.PageToken = page.Next; page.Next == "" {
					break
				}
			}
			return a.raw(cmd, columnNames(shown), rows[:min(len(rows), limit)])
		},
	}
	cmd.Flags().StringVar(&columns, "columns", "", "the columns to show, comma-separated; all without it")
	cmd.Flags().StringVar(&order, "order", "", "columns, comma-separated, each with - in front for descending")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many rows")
	cmd.Flags().BoolVar(&stale, "stale", false, "read from the master asked, which may lag")
	return cmd
}

// conditions reads column=value and column.operator=value; values of the same column and operator belong together.
func conditions(args []string) (list []client.Predicate, err error) {
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usagef("%q: want column=value", arg)
		}
		column, operator, _ := strings.Cut(name, ".")
		var value any = text
		if text == "null" && operator != string(client.Like) {
			value = nil
		}
		i := slices.IndexFunc(list, func(p client.Predicate) bool {
			return sqltype.EqualText(p.Column, column) && p.Operator == client.Operator(operator)
		})
		if i < 0 {
			i = len(list)
			list = append(list, client.Predicate{Column: column, Operator: client.Operator(operator)})
		}
		list[i].Values = append(list[i].Values, value)
	}
	return list, nil
}

func columnNames(columns []wire.ResultColumn) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return names
}

func (a *app) catalogCall() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "call PROC [name=value]…", Short: "Call a procedure", Args: cobra.MinimumNArgs(1),
		Long: `Call a procedure. A value need not stand on the command line: name=@FILE reads a file (as base64 where the
procedure takes binary data), name=- standard input, name alone asks without showing what is typed. A value that
begins with @ is written with @@. null is NULL, except for a text, where it is a word like any other.`,
		Example: `  scaleout catalog call create_folder folder_name=ETL
  scaleout catalog call deploy_project folder_name=ETL project_name=Sales project_stream=@Sales.ispac \
    project_password=@password`,
		ValidArgsFunction: a.completeCall,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			types, err := parameterTypes(cmd.Context(), c, args[0])
			if err != nil {
				return friendly(err)
			}
			read, values := valuesOf(cmd), map[string]any{}
			for _, arg := range args[1:] {
				name, _, _ := strings.Cut(arg, "=")
				sqlType := types[sqltype.Fold(strings.TrimPrefix(name, "@"))]
				name, value, from, err := read.split("argument", arg, strings.HasPrefix(sqlType, "varbinary"))
				if from == asked && err == nil {
					value, err = read.question(cmd.Context(), "argument "+name, name)
				}
				if err != nil {
					return err
				}
				values[name] = argument(sqlType, value)
			}
			var opts []client.CallOption
			if key != "" {
				opts = append(opts, client.WithKey(key))
			}
			result, err := c.Call(cmd.Context(), args[0], values, opts...)
			if err != nil {
				return friendly(err)
			}
			if a.output == "json" {
				sets := []map[string]any{}
				for _, set := range result.Sets {
					sets = append(sets, map[string]any{"columns": columnNames(set.Columns), "rows": set.Rows})
				}
				return printJSON(cmd, map[string]any{"return_value": result.ReturnValue, "output": result.Output,
					"result_sets": sets})
			}
			pairs := []pair{{"return_value", result.ReturnValue}}
			for name, v := range result.Output {
				pairs = append(pairs, pair{name, v})
			}
			if err := a.object(cmd, pairs); err != nil {
				return err
			}
			for _, set := range result.Sets {
				if err := a.raw(cmd, columnNames(set.Columns), set.Rows); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "request-key", "", "the same key gets the first answer again for 24 h")
	return cmd
}

// parameterTypes are the SQL types of a procedure's parameters by the keys of their names. An unknown procedure has
// none: the master's own refusal is the better message.
func parameterTypes(ctx context.Context, c *client.Client, name string) (map[string]string, error) {
	procedures, err := c.Procedures(ctx)
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	for _, p := range procedures {
		if sqltype.EqualText(p.Name, name) {
			for _, x := range p.Parameters {
				types[sqltype.Fold(x.Name)] = x.Type
			}
		}
	}
	return types, nil
}

// argument turns text into JSON of the parameter's type. Text that does not fit the type is sent as it is, and the
// master's refusal names the mistake.
func argument(sqlType, text string) any {
	t, err := sqltype.Parse(sqlType)
	if err != nil {
		return text
	}
	value, err := sqltype.TextToJSON(t, text)
	if err != nil {
		return text
	}
	return value
}
