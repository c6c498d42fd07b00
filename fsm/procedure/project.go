package procedure

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
	"scaleout/fsm/sqltype"
)

type createFolder struct {
	Name string `param:"folder_name" type:"nvarchar(128)" doc:"the new folder, unique in the catalog"`
	ID   Output `param:"folder_id" type:"bigint" doc:"the new folder's id"`
}

type folder struct {
	Name string `param:"folder_name" type:"nvarchar(128)" doc:"the folder"`
}

type renameFolder struct {
	Old string `param:"old_name" type:"nvarchar(128)" doc:"the folder"`
	New string `param:"new_name" type:"nvarchar(128)" doc:"its new name, unique in the catalog"`
}

type setFolderDescription struct {
	Folder      string  `param:"folder_name" type:"nvarchar(128)" doc:"the folder"`
	Description *string `param:"folder_description" type:"nvarchar(max)" doc:"up to 1024 characters; NULL takes it away"`
}

type project struct {
	Folder  string `param:"folder_name" type:"nvarchar(128)" doc:"the folder"`
	Project string `param:"project_name" type:"nvarchar(128)" doc:"the project"`
}

type deployProject struct {
	Folder    string                  `param:"folder_name" type:"nvarchar(128)" doc:"the folder"`
	Project   string                  `param:"project_name" type:"nvarchar(128)" doc:"the project; the name inside the file"`
	Stream    any                     `param:"project_stream" type:"varbinary(max)" doc:"the .ispac file: up to 8 MiB as base64, or {\"blob\":\"<sha256>\"} after an upload"`
	Operation Output                  `param:"operation_id" type:"bigint" doc:"the operation; its messages hold the warnings"`
	Password  *sqltype.Secret[string] `param:"project_password,sensitive" type:"nvarchar(256)" doc:"the password that the file's sensitive values are encrypted with"`
}

// namesRefused are what a name of a folder or a project is refused with.
var namesRefused = []string{
	command.CodeNameEmpty, command.CodeNameLong, command.CodeNameAt, command.CodeNameBlank, command.CodeNameCharacter,
}

func projectProcedures() []*Procedure {
	return []*Procedure{
		Declare(Options[createFolder]{
			Name: "create_folder", Permission: command.MayAdminister,
			Doc:    "Makes a folder.",
			Raises: append([]string{command.CodeFolderExists}, namesRefused...),
			Plan:   Commands(func(a *createFolder) command.Command { return &command.CreateFolder{Name: a.Name} }),
		}),
		Declare(Options[folder]{
			Name: "delete_folder", Permission: command.MayAdminister,
			Doc:    "Deletes an empty folder.",
			Raises: []string{command.CodeFolderNotEmpty, command.CodeFolderNotFound},
			Plan:   Commands(func(a *folder) command.Command { return &command.DeleteFolder{Name: a.Name} }),
		}),
		Declare(Options[renameFolder]{
			Name: "rename_folder", Permission: command.MayAdminister,
			Doc:    "Gives a folder another name; executions keep the name that it had.",
			Raises: append([]string{command.CodeFolderExists, command.CodeFolderNotFound}, namesRefused...),
			Plan:   Commands(func(a *renameFolder) command.Command { return &command.RenameFolder{Old: a.Old, New: a.New} }),
		}),
		Declare(Options[setFolderDescription]{
			Name: "set_folder_description", Permission: command.MayAdminister,
			Doc:    "Describes a folder.",
			Raises: []string{command.CodeDescription, command.CodeFolderNotFound},
			Plan: Commands(func(a *setFolderDescription) command.Command {
				c := &command.SetFolderDescription{Folder: a.Folder}
				if a.Description != nil {
					c.Description = *a.Description
				}
				return c
			}),
		}),
		Declare(Options[deployProject]{
			Name: "deploy_project", Permission: command.MayDeploy,
			Doc: "Makes a project of a project file, or a new version of it.",
			Checks: []string{
				command.CodeNameMismatch, command.CodeInvalidProject, command.CodePasswordRequired, command.CodeWrongPassword,
				command.CodeUserKey, command.CodeProjectTooLarge, command.CodeProjectContent, command.CodeManifestTooLarge,
				command.CodeBlobNotFound, command.CodeFolderNotFound,
			},
			Raises: append([]string{
				command.CodeDigest, command.CodeFolderNotFound, command.CodeInvalidManifest, command.CodeNamePackage,
				command.CodeNameParameter, command.CodePackageTwice, command.CodePermissionObject, command.CodeProjectNotFound,
			}, namesRefused...),
			Plan: planDeployProject,
		}),
		Declare(Options[project]{
			Name: "delete_project", Permission: command.MayModifyProjects,
			Doc: "Deletes a project; its executions stay, and its versions until cleanup.",
			Raises: []string{
				command.CodeFolderNotFound, command.CodePermissionObject, command.CodeProjectInUse, command.CodeProjectNotFound,
			},
			Plan: Commands(func(a *project) command.Command {
				return &command.DeleteProject{Folder: a.Folder, Project: a.Project}
			}),
		}),
	}
}

// planDeployProject reads the project file: what is in it is seen here alone. The command carries what the catalog
// keeps.
func planDeployProject(ctx context.Context, call *Call, a *deployProject) (Plan, error) {
	if _, no := catalog.FindFolder(call.Reader, a.Folder); no != nil {
		return Plan{}, no // before a large file is read for it
	}
	file, err := openStream(ctx, call, a.Stream)
	if err != nil {
		return Plan{}, err
	}
	defer file.Close()
	var password sqltype.Secret[string]
	if a.Password != nil {
		password = *a.Password
	}
	read, err := ispac.Read(file, file.size, ispac.Options{Password: password.Reveal()})
	if err != nil {
		return Plan{}, projectRefusal(err)
	}
	if !sqltype.EqualText(read.Name, a.Project) {
		return Plan{}, command.Refuse(command.CodeNameMismatch, read.Name, a.Project)
	}
	deploy := &command.DeployProject{Folder: a.Folder, Project: read.Name, Blob: file.digest, Size: file.size}
	for _, w := range read.Warnings {
		deploy.Warnings = append(deploy.Warnings, command.Warning{Code: command.NoteDeploy + w.Code,
			Args: command.Arguments(w.Args)})
	}
	manifest, err := manifestOf(read, deploySealer{call, file.digest})
	if err != nil {
		return Plan{}, err
	}
	deploy.Manifest, err = command.PackManifest(manifest)
	switch {
	case errors.Is(err, command.ErrTooLarge):
		return Plan{}, command.Refuse(command.CodeManifestTooLarge, err.Error(), len(manifest.Packages))
	case err != nil:
		return Plan{}, fmt.Errorf("pack the manifest: %w", err)
	}
	if err := sealPassword(call, deploy, read.ProtectionLevel, password); err != nil {
		return Plan{}, err
	}
	// Last, so that a file which cannot be deployed costs no disk: the command must not name what a majority lacks.
	return Plan{Command: deploy, Before: func(ctx context.Context) error { return file.secure(ctx, call) }}, nil
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

func openStream(ctx context.Context, call *Call, given any) (*stream, error) {
	switch v := given.(type) {
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
			return nil, command.Refuse(command.CodeProjectTooLarge, size, most)
		}
		return &stream{ReaderAt: r, size: size, digest: string(v), closer: r}, nil
	}
	return nil, fmt.Errorf("a project file of type %T", given)
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
		return command.Refuse(command.CodeBlobNotFound, digest)
	case errors.Is(err, command.ErrBlobTooLarge):
		return command.Refuse(command.CodeProjectContent, err.Error())
	}
	return fmt.Errorf("project file %s: %w", digest, err)
}

func projectRefusal(err error) error {
	for _, known := range []struct {
		is   error
		code string
	}{
		{ispac.ErrPasswordRequired, command.CodePasswordRequired}, {ispac.ErrWrongPassword, command.CodeWrongPassword},
		{ispac.ErrUserKey, command.CodeUserKey}, {ispac.ErrTooLarge, command.CodeProjectContent},
		{ispac.ErrFormat, command.CodeInvalidProject},
	} {
		if errors.Is(err, known.is) {
			return command.Refuse(known.code, err.Error())
		}
	}
	return fmt.Errorf("read the project file: %w", err)
}

// sealPassword keeps the password where packages need it to open their own secrets.
func sealPassword(call *Call, deploy *command.DeployProject, level ispac.ProtectionLevel,
	password sqltype.Secret[string]) error {
	if password.Reveal() == "" {
		return nil
	}
	if level != ispac.EncryptSensitiveWithPassword && level != ispac.EncryptAllWithPassword {
		deploy.Warnings = append(deploy.Warnings, command.Warning{Code: command.NotePasswordUnset,
			Args: command.Arguments(level)})
		return nil
	}
	sealed, err := call.Seal(password, catalog.SealNamePassword(deploy.Blob))
	if err != nil {
		return fmt.Errorf("seal the project password: %w", err)
	}
	deploy.Password = sealed
	return nil
}
