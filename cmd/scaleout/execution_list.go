package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"scaleout/httpapi/client"
)

func (a *app) executionList() *cobra.Command {
	var status, folder string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List executions, the newest first", Args: cobra.NoArgs,
		Example: "  scaleout execution list --status failed --folder ETL --limit 20",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usagef("--limit %d: want 1 or more", limit)
			}
			q := client.Query{Equal: map[string]any{}, Order: []string{"-execution_id"}, PageSize: min(limit, 1000)}
			if status != "" {
				n, err := statusNumber(status)
				if err != nil {
					return err
				}
				q.Equal["status"] = n
			}
			if folder != "" {
				q.Equal["folder_name"] = folder
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			rows, err := collect(cmd.Context(), c, "executions", q, limit)
			if err != nil {
				return friendly(err)
			}
			if a.output == "json" {
				return a.rows(cmd, nil, rows)
			}
			body := make([][]any, len(rows))
			for i, r := range rows {
				n, _ := r.Int("status")
				body[i] = []any{cell(r["execution_id"]), packagePath(r), statusName(n), cell(r["created_time"]), took(r),
					cell(r["machine_name"]), cell(r["executed_count"])}
			}
			a.table(cmd, []string{"id", "package", "status", "created", "took", "machine", "attempts"}, body)
			return nil
		},
	}
	cmd.Flags().StringVar(&status, "status", "", "name or number of a status: created, pending, running, stopping, succeeded, failed, canceled, …")
	cmd.Flags().StringVar(&folder, "folder", "", "only those of this folder")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return cmd
}

// statusNumber takes a status's number or its name; "ended_unexpectedly" and "unexpectedly" too.
func statusNumber(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 && int(n) < len(statusNames) {
		return n, nil
	}
	want := strings.ToLower(strings.NewReplacer("_", " ", "-", " ").Replace(text))
	for n, name := range statusNames {
		if n > 0 && (want == name || want == "unexpected" && n == 6) {
			return int64(n), nil
		}
	}
	return 0, usagef("--status %q: want one of %s", text, strings.Join(statusNames[1:], ", "))
}

// executionIDs are the newest executions, for completion.
func executionIDs(ctx context.Context, c *client.Client) ([]string, error) {
	page, err := c.View(ctx, "executions", client.Query{Order: []string{"-execution_id"}, PageSize: 50})
	var out []string
	for _, r := range page.Rows {
		out = append(out, cell(r["execution_id"])+"\t"+packagePath(r))
	}
	return out, err
}

// packagePaths are FOLDER/PROJECT/PACKAGE of the entry points, for completion.
func packagePaths(ctx context.Context, c *client.Client) ([]string, error) {
	folders, err := collect(ctx, c, "folders", client.Query{}, 1000)
	if err != nil {
		return nil, err
	}
	projects, err := collect(ctx, c, "projects", client.Query{}, 1000)
	if err != nil {
		return nil, err
	}
	packages, err := collect(ctx, c, "packages", client.Query{Equal: map[string]any{"entry_point": true}}, 1000)
	if err != nil {
		return nil, err
	}
	key := func(r client.Row, column string) int64 { n, _ := r.Int(column); return n }
	folderNames, projectNames := map[int64]string{}, map[int64]string{}
	for _, f := range folders {
		folderNames[key(f, "folder_id")] = f.Text("name")
	}
	for _, p := range projects {
		projectNames[key(p, "project_id")] = folderNames[key(p, "folder_id")] + "/" + p.Text("name")
	}
	var out []string
	for _, p := range packages {
		out = append(out, projectNames[key(p, "project_id")]+"/"+p.Text("name"))
	}
	return out, nil
}
