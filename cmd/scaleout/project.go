package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
	"scaleout/fsm/registry"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

func (a *app) projectCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "project", Short: "Projects: pack, deploy, list, delete"}
	cmd.AddCommand(a.projectDeploy(), a.projectPack(),
		&cobra.Command{
			Use: "list", Short: "List projects", Args: cobra.NoArgs,
			Example: "  scaleout project list",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.projectList(cmd)
			},
		},
		&cobra.Command{
			Use: "packages FOLDER/PROJECT", Short: "List a project's packages", Args: cobra.ExactArgs(1),
			Example: "  scaleout project packages ETL/Sales", ValidArgsFunction: a.completePath(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.ofProject(cmd, args[0], "packages", "project_id", value("Name", "name"),
					value("Entry point", "entry_point"),
					derived("Version", packageVersion).drop(2), text("Description", "description").drop(1), number("Id",
						"package_id").wide())
			},
		},
		&cobra.Command{
			Use: "parameters FOLDER/PROJECT", Short: "List a project's parameters", Args: cobra.ExactArgs(1),
			Example: "  scaleout project parameters ETL/Sales", ValidArgsFunction: a.completePath(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.ofProject(cmd, args[0], "object_parameters", "project_id", derived("Of", parameterOwner),
					value("Parameter", "parameter_name"),
					value("Type", "data_type").drop(2), value("Required", "required").drop(3), value("Sensitive", "sensitive").drop(4),
					text("Default", "design_default_value").drop(1), text("Description", "description").wide())
			},
		},
		&cobra.Command{
			Use: "versions FOLDER/PROJECT", Short: "List a project's versions", Args: cobra.ExactArgs(1),
			Example: "  scaleout project versions ETL/Sales", ValidArgsFunction: a.completePath(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.ofProject(cmd, args[0], "object_versions", "object_id", number("Version", "object_version_lsn"),
					value("Project", "object_name"),
					value("Deployed by", "created_by").drop(1), when("Deployed", "created_time"))
			},
		},
		&cobra.Command{
			Use: "delete FOLDER/PROJECT", Short: "Delete a project", Args: cobra.ExactArgs(1),
			Example: "  scaleout project delete ETL/Sales", ValidArgsFunction: a.completePath(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				folder, project, err := projectOf(args[0])
				if err != nil {
					return err
				}
				return a.change(cmd, "delete_project", map[string]any{"folder_name": folder, "project_name": project},
					[]pair{{"folder", folder}, {"project", project}}, "deleted project %s/%s", folder, project)
			},
		},
	)
	return cmd
}

// projectList prints all projects, each with its folder's name.
func (a *app) projectList(cmd *cobra.Command) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	folders, err := collect(cmd.Context(), c, "folders", client.Query{PageSize: 1000}, 10_000)
	if err != nil {
		return friendly(err)
	}
	names := map[int64]string{}
	for _, f := range folders {
		id, _ := f.Int("folder_id")
		names[id] = f.Text("name")
	}
	rows, err := collect(cmd.Context(), c, "projects", client.Query{PageSize: 1000}, 10_000)
	if err != nil {
		return friendly(err)
	}
	for _, r := range rows {
		id, _ := r.Int("folder_id")
		r["folder_name"] = names[id]
	}
	return a.rows(cmd, rows, value("Folder", "folder_name"), value("Name", "name"),
		number("Version", "object_version_lsn").drop(3),
		value("Deployed by", "deployed_by_name").drop(2), when("Deployed", "last_deployed_time").drop(1),
		text("Description", "description").wide(), number("Id", "project_id").wide())
}

func packageVersion(r client.Row) string {
	return cell(r["version_major"]) + "." + cell(r["version_minor"]) + "." + cell(r["version_build"])
}

// parameterOwner is what a parameter belongs to.
func parameterOwner(r client.Row) string {
	if kind, _ := r.Int("object_type"); kind == catalog.ObjectProject {
		return "the project"
	}
	return r.Text("object_name")
}

// ofProject prints a view's rows of one project.
func (a *app) ofProject(cmd *cobra.Command, path, view, key string, columns ...column) error {
	folder, project, err := projectOf(path)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	id, err := projectID(cmd.Context(), c, folder, project)
	if err != nil {
		return friendly(err)
	}
	rows, err := collect(cmd.Context(), c, view, client.Query{Equal: map[string]any{key: id}}, 10_000)
	if err != nil {
		return friendly(err)
	}
	return a.rows(cmd, rows, columns...)
}

func folderID(ctx context.Context, c *client.Client, folder string) (int64, error) {
	page, err := c.View(ctx, "folders", client.Query{Equal: map[string]any{"name": folder}})
	if err != nil {
		return 0, err
	}
	if len(page.Rows) == 0 {
		return 0, refused(command.Refuse(command.CodeFolderNotFound, folder), nameHint(ctx, c, folder, "folders", nil))
	}
	id, _ := page.Rows[0].Int("folder_id")
	return id, nil
}

func projectID(ctx context.Context, c *client.Client, folder, project string) (int64, error) {
	at, err := folderID(ctx, c, folder)
	if err != nil {
		return 0, err
	}
	page, err := c.View(ctx, "projects", client.Query{Equal: map[string]any{"folder_id": at, "name": project}})
	if err != nil {
		return 0, err
	}
	if len(page.Rows) == 0 {
		return 0, refused(command.Refuse(command.CodeProjectNotFound, folder, project),
			nameHint(ctx, c, project, "projects", map[string]any{"folder_id": at}))
	}
	id, _ := page.Rows[0].Int("project_id")
	return id, nil
}

// nameHint ends the sentence that there is no such name: with the name that was probably meant, or with the names that
// exist. It is empty if they cannot be read or are too many.
func nameHint(ctx context.Context, c *client.Client, name, view string, equal map[string]any) string {
	const most = 1000
	rows, err := collect(ctx, c, view, client.Query{Equal: equal, PageSize: most}, most)
	if err != nil || len(rows) == most {
		return ""
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Text("name")
	}
	const few = 20
	if len(names) <= few {
		return registry.Hint(name, names)
	}
	if hint := registry.Meant(name, names); hint != "" {
		return hint
	}
	return fmt.Sprintf("; there are %d", len(names))
}

func (a *app) projectDeploy() *cobra.Command {
	var folder, name, password string
	var create bool
	cmd := &cobra.Command{
		Use: "deploy FILE --folder F", Short: "Deploy an .ispac", Args: cobra.ExactArgs(1), ValidArgsFunction: files("ispac"),
		Example: `  scaleout project deploy Sales.ispac --folder ETL --create-folder
  scaleout project deploy Secret.ispac --folder ETL --password-file -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if folder == "" {
				return usagef("--folder is missing")
			}
			secret, err := readPassword(cmd.InOrStdin(), password)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			d, err := deploy(cmd.Context(), c, args[0], folder, name, secret, create)
			if err != nil {
				return friendly(withHint(cmd.Context(), c, err, folder, ""))
			}
			version := ""
			if d.lsn > 0 {
				version = fmt.Sprintf(", version %d", d.lsn)
			}
			if err := a.done(cmd, []pair{
				{"operation_id", d.operation}, {"folder", folder}, {"project", d.project}, {"project_version", d.version},
				{"packages", d.packages}, {"object_version_lsn", d.lsn},
			}, "deployed %s %s to %s, %d %s%s", d.project, d.version, folder, d.packages, plural(d.packages, "package"),
				version); err != nil {
				return err
			}
			return warnings(cmd, c, d.operation)
		},
	}
	cmd.Flags().StringVar(&folder, "folder", "", "folder to deploy to")
	cmd.Flags().StringVar(&name, "name", "", "project name; default: the name in the file")
	cmd.Flags().BoolVar(&create, "create-folder", false, "create the folder if it is missing")
	cmd.Flags().StringVar(&password, "password-file", "", "file with the project's password; - for standard input")
	return cmd
}

// deployed is what came of a deployment.
type deployed struct {
	operation int64
	project   string
	version   string // the project's own, from its file
	packages  int
	lsn       int64 // the catalog's version
}

// deploy uploads a project file and deploys it.
func deploy(ctx context.Context, c *client.Client, file, folder, name, password string,
	create bool) (*deployed, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// The file is read here, too, so that a broken one is refused before anything is sent.
	p, err := ispac.Read(f, info.Size(), ispac.Options{Password: password})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if name == "" {
		name = p.Name
	}
	d := &deployed{project: name, packages: len(p.Packages), version: fmt.Sprintf("%d.%d", p.VersionMajor, p.VersionMinor)}
	if p.VersionBuild > 0 {
		d.version += fmt.Sprintf(".%d", p.VersionBuild)
	}
	if create {
		_, err := c.Call(ctx, "create_folder", map[string]any{"folder_name": folder})
		if err != nil && !code(err, wire.CodeFolderExists) {
			return nil, err
		}
	}
	blob, err := c.PutBlobFile(ctx, file)
	if err != nil {
		return nil, err
	}
	args := map[string]any{
		"folder_name": folder, "project_name": name, "project_stream": map[string]string{"blob": blob.SHA256},
	}
	if password != "" {
		args["project_password"] = password
	}
	result, err := c.Call(ctx, "deploy_project", args)
	if err != nil {
		return nil, err
	}
	d.operation, _ = result.Int("operation_id")
	// The version is shown if it can be read: a caller who may only deploy may not read it.
	if id, err := projectID(ctx, c, folder, name); err == nil {
		if page, err := c.View(ctx, "projects", client.Query{Equal: map[string]any{"project_id": id}}); err == nil &&
			len(page.Rows) == 1 {
			d.lsn, _ = page.Rows[0].Int("object_version_lsn")
		}
	}
	return d, nil
}

// warnings prints what an operation's messages warn of.
func warnings(cmd *cobra.Command, c *client.Client, operation int64) error {
	for r, err := range c.Rows(cmd.Context(), "operation_messages",
		client.Query{Equal: map[string]any{"operation_id": operation, "message_type": catalog.MessageWarning}}) {
		if err != nil {
			return friendly(err)
		}
		sayf(cmd.ErrOrStderr(), "warning: %s", r.Text("message"))
	}
	return nil
}

func (a *app) projectPack() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "pack DIR", Short: "Make an .ispac from a folder with project.yaml and packages of any extension",
		Args: cobra.ExactArgs(1), ValidArgsFunction: folders,
		Long: `Make an .ispac from a folder. DIR/project.yaml names the packages and their typed parameters:

  name: Sales
  description: Nightly load
  parameters:
    - {name: Server, type: String, default: db1}
  packages:
    - name: load.sh
      parameters:
        - {name: Day, type: DateTime, required: true}
    - {name: step.py, entry_point: false}`,
		Example: "  scaleout project pack ./sales\n  scaleout project pack ./sales --out build/Sales.ispac",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, raw, err := pack(os.DirFS(args[0]))
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if out == "" {
				out = p.Name + ".ispac"
			}
			if err := os.WriteFile(out, raw, 0o644); err != nil {
				return err
			}
			return a.done(cmd, []pair{{"file", out}, {"project", p.Name}, {"packages", len(p.Packages)}},
				"packed %d %s of %s into %s", len(p.Packages), plural(len(p.Packages), "package"), p.Name, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write; default: NAME.ispac")
	return cmd
}

// definitionFile describes a folder that is packed.
const definitionFile = "project.yaml"

// pack makes a project file from a folder and reads it back.
func pack(dir fs.FS) (*ispac.Project, []byte, error) {
	text, err := fs.ReadFile(dir, definitionFile)
	if err != nil {
		return nil, nil, err
	}
	d, err := ispac.ParseDefinition(text)
	if err != nil {
		return nil, nil, err
	}
	var files []string
	err = fs.WalkDir(dir, ".", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && path != definitionFile {
			files = append(files, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	p, err := d.Project(func() string { return strings.ToUpper(uuid.NewString()) }, files)
	if err != nil {
		return nil, nil, err
	}
	var buf bytes.Buffer
	if err := ispac.Write(&buf, p, func(part string) (io.ReadCloser, error) { return dir.Open(part) }); err != nil {
		return nil, nil, err
	}
	if _, err := ispac.Read(bytes.NewReader(buf.Bytes()), int64(buf.Len()), ispac.Options{}); err != nil {
		return nil, nil, fmt.Errorf("the packed project does not read back: %w", err)
	}
	return p, buf.Bytes(), nil
}
