package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"scaleout/httpapi/client"
)

func (a *app) folderCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "folder", Short: "Folders of the catalog"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "create NAME", Short: "Create a folder", Args: cobra.ExactArgs(1),
			Example: "  scaleout folder create ETL",
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.change(cmd, "create_folder", map[string]any{"folder_name": args[0]}, []pair{{"folder", args[0]}},
					"created folder %s", args[0])
			},
		},
		&cobra.Command{
			Use: "delete NAME", Short: "Delete an empty folder", Args: cobra.ExactArgs(1),
			Example:           "  scaleout folder delete ETL",
			ValidArgsFunction: a.complete(folderNames),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.change(cmd, "delete_folder", map[string]any{"folder_name": args[0]}, []pair{{"folder", args[0]}},
					"deleted folder %s", args[0])
			},
		},
		&cobra.Command{
			Use: "list", Short: "List folders", Args: cobra.NoArgs,
			Example: "  scaleout folder list",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.list(cmd, "folders", client.Query{}, value("Name", "name"), text("Description", "description").drop(3),
					value("Created by", "created_by_name").drop(2), when("Created", "created_time").drop(1), number("Id",
						"folder_id").wide())
			},
		},
	)
	return cmd
}

// list prints all rows of a view's query.
func (a *app) list(cmd *cobra.Command, view string, q client.Query, columns ...column) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	rows, err := collect(cmd.Context(), c, view, q, 10_000)
	if err != nil {
		return friendly(err)
	}
	return a.rows(cmd, rows, columns...)
}

// collect reads at most so many rows.
func collect(ctx context.Context, c *client.Client, view string, q client.Query, most int) ([]client.Row, error) {
	rows := []client.Row{} // none is an empty list in JSON too
	for r, err := range c.Rows(ctx, view, q) {
		if err != nil {
			return nil, err
		}
		if rows = append(rows, r); len(rows) == most {
			break
		}
	}
	return rows, nil
}

// change calls a procedure and prints its effect: as a sentence of format and words, or as JSON with the procedure's
// outputs and about.
func (a *app) change(cmd *cobra.Command, procedure string, args map[string]any, about []pair, format string,
	words ...any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	result, err := c.Call(cmd.Context(), procedure, args)
	if err != nil {
		folder, _ := args["folder_name"].(string)
		project, _ := args["project_name"].(string)
		return friendly(withHint(cmd.Context(), c, err, folder, project))
	}
	pairs := append([]pair{{"return_value", result.ReturnValue}, {"output", result.Output}}, about...)
	return a.done(cmd, pairs, format, words...)
}

// code reports whether a master answered with the code.
func code(err error, want string) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Code == want
}
