package procedure

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func projectProcedures() []*Procedure {
	folder := registry.Parameter{Name: "folder_name", Type: sqltype.NVarChar(128), Required: true, Doc: "the folder"}
	project := registry.Parameter{Name: "project_name", Type: sqltype.NVarChar(128), Required: true, Doc: "the project"}
	return []*Procedure{
		{
			Name: "create_folder", Permission: catalog.Admin,
			Doc: "Makes a folder; the return value is its id, too.",
			Parameters: []registry.Parameter{
				{Name: "folder_name", Type: sqltype.NVarChar(128), Required: true, Doc: "the new folder, unique in the catalog"},
				{Name: "folder_id", Type: sqltype.BigInt, Output: true, Doc: "the new folder's id"},
			},
			Plan: planCreateFolder,
		},
		{
			Name: "delete_folder", Permission: catalog.Admin, Parameters: []registry.Parameter{folder},
			Doc:  "Deletes an empty folder.",
			Plan: planDeleteFolder,
		},
		{
			Name: "deploy_project", Permission: catalog.Admin,
			Doc: "Makes a project of a project file, or a new version of it.",
			Parameters: []registry.Parameter{
				folder,
				{Name: "project_name", Type: sqltype.NVarChar(128), Required: true, Doc: "the project; the name inside the file"},
				{Name: "project_stream", Type: sqltype.VarBinaryMax, Required: true, Doc: `the .ispac file: up to 8 MiB as base64, or {"blob":"<sha256>"} after an upload`},
				{Name: "project_password", Type: sqltype.NVarChar(256), Sensitive: true, Doc: "the password that the file's sensitive values are encrypted with"},
				{Name: "operation_id", Type: sqltype.BigInt, Output: true, Doc: "the operation; its messages hold the warnings"},
			},
			Plan: planDeployProject,
		},
		{
			Name: "delete_project", Permission: catalog.Admin, Parameters: []registry.Parameter{folder, project},
			Doc:  "Deletes a project; its executions stay, and its versions until cleanup.",
			Plan: planDeleteProject,
		},
	}
}

func planCreateFolder(_ context.Context, call *Call) (Plan, error) {
	name := call.Args.text("folder_name")
	if err := catalog.CheckName("folder_name", name); err != nil {
		return Plan{}, err
	}
	if f, ok := call.View.Folder(name); ok {
		return Plan{}, command.Refuse(command.CodeFolderExists, "the folder %s exists (folder_id %d)", sqltype.Quote(f.Name), f.ID)
	}
	return Plan{
		Command: &command.CreateFolder{Name: name},
		Outputs: func(r command.Result) (map[string]any, int64) {
			return map[string]any{"folder_id": r.Value}, r.Value
		},
	}, nil
}

func planDeleteFolder(_ context.Context, call *Call) (Plan, error) {
	f, err := knownFolder(call)
	if err != nil {
		return Plan{}, err
	}
	for p := range call.View.ProjectsIn(f.ID) {
		return Plan{}, command.Refuse(command.CodeFolderNotEmpty, "the folder %s has projects (%s is one): delete them first", sqltype.Quote(f.Name), sqltype.Quote(p.Name))
	}
	return Plan{Command: &command.DeleteFolder{Name: f.Name}}, nil
}

func planDeleteProject(_ context.Context, call *Call) (Plan, error) {
	folder, project, err := knownProject(call)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Command: &command.DeleteProject{Folder: folder.Name, Project: project.Name}}, nil
}

func knownFolder(call *Call) (*catalog.Folder, error) {
	name := call.Args.text("folder_name")
	f, ok := call.View.Folder(name)
	if !ok {
		return nil, command.Refuse(command.CodeFolderNotFound, "there is no folder %s; the view folders lists them", sqltype.Quote(name))
	}
	return f, nil
}

func knownProject(call *Call) (*catalog.Folder, *catalog.Project, error) {
	folder, err := knownFolder(call)
	if err != nil {
		return nil, nil, err
	}
	name := call.Args.text("project_name")
	project, ok := call.View.Project(folder.Name, name)
	if !ok {
		return nil, nil, command.Refuse(command.CodeProjectNotFound, "the folder %s has no project %s", sqltype.Quote(folder.Name), sqltype.Quote(name))
	}
	return folder, project, nil
}

// checkShown refuses a project file whose packages or parameters have such names.
func checkShown(p *ispac.Project) error {
	look := func(what string, names ...string) error {
		for _, name := range names {
			if r, found := catalog.HiddenIn(name); found {
				return command.Refuse(command.CodeInvalidProject, "project_stream: the name of the %s %s contains %s", what, sqltype.Quote(name), r)
			}
		}
		return nil
	}
	parameters := func(list []ispac.Parameter) error {
		for i := range list {
			if err := look("parameter", list[i].Name); err != nil {
				return err
			}
		}
		return nil
	}
	err := parameters(p.Parameters)
	for i := range p.Packages {
		if err == nil {
			err = look("package", p.Packages[i].Name)
		}
		if err == nil {
			err = parameters(p.Packages[i].Parameters)
		}
	}
	return err
}

func planDeployProject(ctx context.Context, call *Call) (Plan, error) {
	folder, err := knownFolder(call)
	if err != nil {
		return Plan{}, err
	}
	name := call.Args.text("project_name")
	if err := catalog.CheckName("project_name", name); err != nil {
		return Plan{}, err
	}
	file, err := openStream(ctx, call)
	if err != nil {
		return Plan{}, err
	}
	defer file.Close()
	password := call.Args.text("project_password")
	read, err := ispac.Read(file, file.size, ispac.Options{Password: password})
	if err != nil {
		return Plan{}, projectRefusal(err)
	}
	if !strings.EqualFold(read.Name, name) {
		return Plan{}, command.Refuse(command.CodeNameMismatch, "project_name: the project file is of the project %s, not %s", sqltype.Quote(read.Name), sqltype.Quote(name))
	}
	if err := catalog.CheckName("the name in the project file", read.Name); err != nil {
		return Plan{}, err
	}
	if err := checkShown(read); err != nil {
		return Plan{}, err
	}
	deploy := &command.DeployProject{Folder: folder.Name, Project: read.Name, Blob: file.digest, Size: file.size, Warnings: read.Warnings}
	manifest, err := manifestOf(read, deploySealer{call, file.digest})
	if err != nil {
		return Plan{}, err
	}
	deploy.Manifest, err = command.PackManifest(manifest)
	switch {
	case errors.Is(err, command.ErrTooLarge):
		return Plan{}, command.Refuse(command.CodeManifestTooLarge, "what the project declares does not fit into one command: %s; split the project (it has %d packages)",
			err, len(manifest.Packages))
	case err != nil:
		return Plan{}, fmt.Errorf("pack the manifest: %w", err)
	}
	if err := sealPassword(call, deploy, read.ProtectionLevel, password); err != nil {
		return Plan{}, err
	}
	// Last, so that a file which cannot be deployed costs no disk: the command must not name what a majority lacks.
	if err := file.secure(ctx, call); err != nil {
		return Plan{}, err
	}
	return Plan{Command: deploy, Outputs: outputID("operation_id")}, nil
}

// stream is the project file of a deploy, wherever its bytes are.
type stream struct {
	io.ReaderAt
	size   int64
	digest string
	bytes  []byte    // nil: it is an uploaded blob
	closer io.Closer // of the blob
}

func (s *stream) Close() {
	if s.closer != nil {
		_ = s.closer.Close() // it was only read
	}
}

func openStream(ctx context.Context, call *Call) (*stream, error) {
	switch v := call.Args["project_stream"].(type) {
	case []byte:
		sum := sha256.Sum256(v)
		return &stream{ReaderAt: bytes.NewReader(v), size: int64(len(v)), digest: hex.EncodeToString(sum[:]), bytes: v}, nil
	case sqltype.Blob:
		r, size, err := call.Blobs.Open(ctx, string(v))
		if err != nil {
			return nil, blobRefusal(string(v), err)
		}
		if most := call.Config.MaxProjectBytes; most > 0 && size > most {
			_ = r.Close() // it was only read
			return nil, command.Refuse(command.CodeProjectTooLarge, "project_stream: %d bytes are more than MaxProjectBytes, %d", size, most)
		}
		return &stream{ReaderAt: r, size: size, digest: string(v), closer: r}, nil
	}
	return nil, command.Refuse(command.CodeMissingParameter, "deploy_project needs the parameter project_stream")
}

// secure makes a majority hold the file.
func (s *stream) secure(ctx context.Context, call *Call) error {
	if s.bytes == nil {
		if _, err := call.Blobs.Confirm(ctx, s.digest); err != nil {
			return blobRefusal(s.digest, err)
		}
		return nil
	}
	digest, _, err := call.Blobs.Store(ctx, bytes.NewReader(s.bytes), int64(len(s.bytes)))
	switch {
	case err != nil:
		return blobRefusal(s.digest, err)
	case digest != s.digest:
		return fmt.Errorf("the project file was stored as %s instead of %s", digest, s.digest)
	}
	return nil
}

func blobRefusal(digest string, err error) error {
	switch {
	case errors.Is(err, command.ErrNoBlob):
		return command.Refuse(command.CodeBlobNotFound, "no master holds the blob %s: upload it first with PUT /v1/blobs/%s", digest, digest)
	case errors.Is(err, command.ErrBlobTooLarge):
		return command.Refuse(command.CodeProjectTooLarge, "the project file is too large: %s", err)
	}
	return fmt.Errorf("project file %s: %w", digest, err)
}

func projectRefusal(err error) error {
	for _, known := range []struct {
		is   error
		code string
	}{
		{ispac.ErrPasswordRequired, command.CodePasswordRequired}, {ispac.ErrWrongPassword, command.CodeWrongPassword},
		{ispac.ErrUserKey, command.CodeUserKey}, {ispac.ErrTooLarge, command.CodeProjectTooLarge}, {ispac.ErrFormat, command.CodeInvalidProject},
	} {
		if errors.Is(err, known.is) {
			return command.Refuse(known.code, "project_stream: %s", err)
		}
	}
	return fmt.Errorf("read the project file: %w", err)
}

// sealPassword keeps the password where packages need it to open their own secrets.
func sealPassword(call *Call, deploy *command.DeployProject, level ispac.ProtectionLevel, password string) error {
	if password == "" {
		return nil
	}
	if level != ispac.EncryptSensitiveWithPassword && level != ispac.EncryptAllWithPassword {
		deploy.Warnings = append(deploy.Warnings, fmt.Sprintf("project_password was given, but the project's protection level is %s: it is not kept.", level))
		return nil
	}
	sealed, err := call.Seal([]byte(password), catalog.SealNamePassword(deploy.Blob))
	if err != nil {
		return fmt.Errorf("seal the project password: %w", err)
	}
	deploy.Password = sealed
	return nil
}
