package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/catalog"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
)

// completeTime bounds what a press of the tab key waits for: after it nothing is offered.
const completeTime = 2 * time.Second

// completePage is how many names are offered at most.
const completePage = 200

// words are what completion offers, each with a description behind a tab.
type words func(ctx context.Context, c *client.Client) ([]string, error)

const noFiles = cobra.ShellCompDirectiveNoFileComp

// ask asks the masters for words; without a connection there are none.
func (a *app) ask(cmd *cobra.Command, list words) []string {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return nil
	}
	defer c.Close()
	found, err := list(ctx, c)
	if err != nil {
		return nil
	}
	// The shell prints the words: they must not contain characters on which a terminal acts.
	out := found[:0]
	for _, w := range found {
		if name, about, _ := strings.Cut(w, "\t"); show.Clean(name) && name != "" {
			if about != "" {
				name += "\t" + show.Text(about)
			}
			out = append(out, name)
		}
	}
	return out
}

// complete offers words for the first argument.
func (a *app) complete(list words) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return a.ask(cmd, list), noFiles
	}
}

// completeFlag offers words for a flag's value.
func (a *app) completeFlag(list words) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.ask(cmd, list), noFiles
	}
}

// files offers files of an extension as the first argument.
func files(extension string) cobra.CompletionFunc {
	return first(func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{extension}, cobra.ShellCompDirectiveFilterFileExt
	})
}

// folders offers folders of this machine.
func folders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// columnOf offers the values of a view's column, each with that of another as its description.
func columnOf(view, column, about string, q client.Query) words {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		q.PageSize = completePage
		page, err := c.View(ctx, view, q)
		var out []string
		for _, r := range page.Rows {
			out = append(out, r.Text(column)+"\t"+r.Text(about)) // raw: ask leaves out what is not clean
		}
		return out, err
	}
}

var (
	folderNames = columnOf("folders", "name", "description", client.Query{})
	viewNames   = words(func(ctx context.Context, c *client.Client) (out []string, err error) {
		views, err := c.Views(ctx)
		for _, v := range views {
			out = append(out, v.Name+"\t"+v.Doc)
		}
		return out, err
	})
	procedureNames = words(func(ctx context.Context, c *client.Client) (out []string, err error) {
		procedures, err := c.Procedures(ctx)
		for _, p := range procedures {
			out = append(out, p.Name+"\t"+p.Doc)
		}
		return out, err
	})
	memberNames = words(func(ctx context.Context, c *client.Client) (out []string, err error) {
		s, err := c.Cluster(ctx)
		for _, m := range s.Members {
			out = append(out, m.Name+"\t"+m.Role+", "+m.Health)
		}
		return out, err
	})
	workerNames = words(func(ctx context.Context, c *client.Client) (out []string, err error) {
		page, err := c.View(ctx, "worker_agents", client.Query{PageSize: completePage})
		for _, r := range page.Rows {
			about := r.Text("State")
			if !r.Bool("IsEnabled") {
				about = "disabled"
			}
			out = append(out, workerLabel(r)+"\t"+about)
		}
		return out, err
	})
	callerNames = words(func(ctx context.Context, c *client.Client) (out []string, err error) {
		page, err := c.View(ctx, "executions", client.Query{Order: []string{"-execution_id"}, PageSize: 1000})
		seen := map[string]bool{}
		for _, r := range page.Rows {
			if name := r.Text("caller_name"); !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
		return out, err
	})
)

// executionIDs offers the newest executions of some statuses, of all when none is given.
func executionIDs(statuses ...catalog.Status) words {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		var out []string
		add := func(equal map[string]any) error {
			page, err := c.View(ctx, "executions", client.Query{Equal: equal, Order: []string{"-execution_id"}, PageSize: 50})
			for _, r := range page.Rows {
				out = append(out, cell(r["execution_id"])+"\t"+packagePath(r)+", "+rowStatus(r).String())
			}
			return err
		}
		if len(statuses) == 0 {
			return out, add(nil)
		}
		var errs []error
		for _, s := range statuses {
			errs = append(errs, add(map[string]any{"status": s}))
		}
		return out, errors.Join(errs...)
	}
}

// completePath offers FOLDER/PROJECT or FOLDER/PROJECT/PACKAGE, a part at a time.
func (a *app) completePath(parts int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		given := strings.SplitN(begun, "/", parts)
		found := a.ask(cmd, func(ctx context.Context, c *client.Client) ([]string, error) {
			return pathParts(ctx, c, given[:len(given)-1])
		})
		if len(given) == parts {
			return found, noFiles
		}
		for i, w := range found {
			name, about, _ := strings.Cut(w, "\t")
			found[i] = name + "/\t" + about
		}
		return found, noFiles | cobra.ShellCompDirectiveNoSpace
	}
}

// pathParts lists what may follow the parts of a path that are given.
func pathParts(ctx context.Context, c *client.Client, given []string) ([]string, error) {
	list := folderNames
	switch len(given) {
	case 1:
		page, err := c.View(ctx, "folders", client.Query{Equal: map[string]any{"name": given[0]}})
		if err != nil || len(page.Rows) == 0 {
			return nil, err
		}
		list = columnOf("projects", "name", "description",
			client.Query{Equal: map[string]any{"folder_id": page.Rows[0]["folder_id"]}})
	case 2:
		id, err := projectID(ctx, c, given[0], given[1])
		if err != nil {
			return nil, err
		}
		list = columnOf("packages", "name", "description",
			client.Query{Equal: map[string]any{"project_id": id, "entry_point": true}})
	}
	found, err := list(ctx, c)
	for i := range found {
		found[i] = strings.Join(append(given[:len(given):len(given)], found[i]), "/")
	}
	return found, err
}

// completeView offers a view's name, then its columns.
func (a *app) completeView(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.ask(cmd, viewNames), noFiles
	}
	return a.ask(cmd, viewColumns(args[0], "=")), noFiles | cobra.ShellCompDirectiveNoSpace
}

// viewColumns are the columns of a view, each followed by the text behind.
func viewColumns(view, behind string) words {
	return func(ctx context.Context, c *client.Client) (out []string, err error) {
		views, err := c.Views(ctx)
		for _, v := range views {
			if sqltype.EqualText(v.Name, view) {
				for _, col := range v.Columns {
					out = append(out, col.Name+behind+"\t"+col.Doc)
				}
			}
		}
		return out, err
	}
}

// completeCall offers a procedure's name, then its parameters.
func (a *app) completeCall(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.ask(cmd, procedureNames), noFiles
	}
	return a.ask(cmd, func(ctx context.Context, c *client.Client) (out []string, err error) {
		procedures, err := c.Procedures(ctx)
		for _, p := range procedures {
			if sqltype.EqualText(p.Name, args[0]) {
				for _, x := range p.Parameters {
					if !x.Output {
						out = append(out, x.Name+"=\t"+x.Type)
					}
				}
			}
		}
		return out, err
	}), noFiles | cobra.ShellCompDirectiveNoSpace
}

// completeParameter offers NAME= of the parameters of one kind of the package that is the first argument.
func (a *app) completeParameter(objectType int64) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, noFiles
		}
		return a.ask(cmd, func(ctx context.Context, c *client.Client) (out []string, err error) {
			folder, project, pkg, err := packageOf(args[0])
			if err != nil {
				return nil, nil // the path is not complete
			}
			id, err := projectID(ctx, c, folder, project)
			if err != nil {
				return nil, err
			}
			rows, err := collect(ctx, c, "object_parameters",
				client.Query{Equal: map[string]any{"project_id": id, "object_type": objectType}, PageSize: 1000}, 1000)
			for _, r := range rows {
				if objectType == catalog.ObjectProject || sqltype.EqualText(r.Text("object_name"), pkg) {
					about := r.Text("data_type")
					if r.Bool("required") {
						about += ", required"
					}
					out = append(out, r.Text("parameter_name")+"=\t"+about)
				}
			}
			return out, err
		}), noFiles | cobra.ShellCompDirectiveNoSpace
	}
}
