package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
)

// listing is which executions are listed.
type listing struct {
	statuses                []string
	folder, project, caller string
	since                   string
	limit                   int
}

func (a *app) executionList() *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use: "list", Short: "List executions, the newest first", Args: cobra.NoArgs,
		Long: `List executions, the newest first. What is named by several flags must all be so.

--since takes a time ago (90m, 24h, 7d), a day (2026-01-31) or a moment (2026-01-31T02:00:00Z), of their creation.`,
		Example: `  scaleout execution list --status failed,unexpected --since 24h
  scaleout execution list --folder ETL --project Sales --caller alice --limit 20`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.limit < 1 {
				return usagef("--limit %d: want 1 or more", l.limit)
			}
			since, err := parseSince(l.since, time.Now())
			if err != nil {
				return err
			}
			if err := l.splitProject(); err != nil {
				return err
			}
			var statuses []catalog.Status
			for _, s := range l.statuses {
				n, err := statusNumber(s)
				if err != nil {
					return err
				}
				statuses = append(statuses, n)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			rows, err := l.find(cmd.Context(), c, statuses, since)
			if err != nil {
				return friendly(err)
			}
			if len(rows) == 0 {
				if err := l.exists(cmd.Context(), c); err != nil {
					sayf(cmd.ErrOrStderr(), "%v", friendly(err)) // no error: the folder or project may have been deleted
					if a.output != "json" {
						return nil // a table without rows would look like the answer
					}
				}
			}
			names := newWorkerLabels(c)
			for _, r := range rows {
				names.describe(cmd.Context(), r)
			}
			return a.rows(cmd, rows, number("Id", "execution_id"), derived("Package", packagePath).breakable(),
				toned("Status", func(r client.Row) show.Cell {
					s := r.Text("status_name")
					return show.Cell{Text: s, Tone: tone(s)}
				}),
				when("Created", "created_time").drop(1), derived("Took", took).drop(2), derived("Worker", where).drop(3),
				number("Attempts", "executed_count").drop(5), value("Caller", "caller_name").drop(4),
				when("Started", "start_time").wide(), when("Ended", "end_time").wide(), value("Machine", "machine_name").wide(),
				number("Project version", "project_lsn").wide(), value("Stopped by", "stopped_by_name").wide())
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&l.statuses, "status", nil, "only those of these statuses, by name or number: "+
		strings.Join(statusNames(), ", "))
	flags.StringVar(&l.folder, "folder", "", "only those of this folder")
	flags.StringVar(&l.project, "project", "", "only those of this project, or FOLDER/PROJECT")
	flags.StringVar(&l.caller, "caller", "", "only those that this user created")
	flags.StringVar(&l.since, "since", "", "only those created since then: 24h, 7d, 2026-01-31")
	flags.IntVar(&l.limit, "limit", 50, "at most so many")
	return cmd
}

// splitProject splits --project FOLDER/PROJECT into folder and project.
func (l *listing) splitProject() error {
	if !strings.Contains(l.project, "/") {
		return nil
	}
	folder, project, err := projectOf(l.project)
	if err != nil {
		return err
	}
	if l.folder != "" && !sqltype.EqualText(l.folder, folder) {
		return usagef("--folder %s and --project %s name two folders", l.folder, l.project)
	}
	l.folder, l.project = folder, project
	return nil
}

// find reads what the listing names, the newest first.
func (l *listing) find(ctx context.Context, c *client.Client, statuses []catalog.Status,
	since time.Time) ([]client.Row, error) {
	equal := map[string]any{}
	if l.project != "" {
		equal["project_name"] = l.project
	}
	if l.folder != "" {
		equal["folder_name"] = l.folder
	}
	if l.caller != "" {
		equal["caller_name"] = l.caller
	}
	if len(statuses) == 0 {
		return newest(ctx, c, equal, since, l.limit)
	}
	// A query has one value for a column, and each status a list of its own on the masters.
	var all []client.Row
	for _, s := range slices.Compact(slices.Sorted(slices.Values(statuses))) {
		equal["status"] = s
		rows, err := newest(ctx, c, equal, since, l.limit)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(x, y client.Row) int {
		a, _ := x.Int("execution_id")
		b, _ := y.Int("execution_id")
		return cmp.Compare(b, a)
	})
	return all[:min(len(all), l.limit)], nil
}

// exists returns an error that names the folder or project of the listing that does not exist, and a near name.
func (l *listing) exists(ctx context.Context, c *client.Client) error {
	switch {
	case l.folder != "" && l.project != "":
		_, err := projectID(ctx, c, l.folder, l.project)
		return err
	case l.folder != "":
		_, err := folderID(ctx, c, l.folder)
		return err
	case l.project != "":
		// In any folder: no procedure refuses that, so no code has this sentence.
		page, err := c.View(ctx, "projects", client.Query{Equal: map[string]any{"name": l.project}, PageSize: 1})
		if err == nil && len(page.Rows) == 0 {
			err = fmt.Errorf("there is no project %q%s", l.project, nameHint(ctx, c, l.project, "projects", nil))
		}
		return err
	}
	return nil
}

// newest reads at most so many executions, the newest first, as far back as since. Creation times rise with the ids, so
// the walk ends at the first that is older.
func newest(ctx context.Context, c *client.Client, equal map[string]any, since time.Time,
	most int) ([]client.Row, error) {
	q := client.Query{Equal: equal, Order: []string{"-execution_id"}, PageSize: min(most, 1000)}
	var rows []client.Row
	for r, err := range c.Rows(ctx, "executions", q) {
		if err != nil {
			return nil, err
		}
		if moment(r, "created_time").Before(since) {
			break
		}
		if rows = append(rows, r); len(rows) == most {
			break
		}
	}
	return rows, nil
}

// parseSince is a moment in the past; the zero time for "".
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 100_000 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--since %q: want a time ago such as 90m, 24h or 7d, a day such as 2026-01-31, or a "+
		"moment such as 2026-01-31T02:00:00Z", text)
}
