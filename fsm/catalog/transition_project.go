package catalog

import (
	"fmt"
	"slices"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

func createFolder(r *Reader, e *edit, c *command.CreateFolder) command.Result {
	if c.Name == "" {
		return reject(command.CodeInvalidArgument, "a folder needs a name")
	}
	if f, ok := r.Folder(c.Name); ok {
		return reject(command.CodeFolderExists, "there is a folder %s already", sqltype.Quote(f.Name))
	}
	e.Folder++
	e.add(tableFolders, &Folder{ID: e.Folder, Name: c.Name, Description: c.Description, CreatedBy: e.caller.String(), Created: e.Time})
	return command.Result{Value: e.Folder}
}

func deleteFolder(r *Reader, e *edit, c *command.DeleteFolder) command.Result {
	f, ok := r.Folder(c.Name)
	if !ok {
		return reject(command.CodeFolderNotFound, "there is no folder %s", sqltype.Quote(c.Name))
	}
	for p := range r.ProjectsIn(f.ID) {
		return reject(command.CodeFolderNotEmpty, "the folder %s holds the project %s: delete its projects first", sqltype.Quote(f.Name), sqltype.Quote(p.Name))
	}
	e.remove(tableFolders, f)
	return command.Result{}
}

// folderAndProject finds what a command names.
func folderAndProject(r *Reader, folder, project string) (*Folder, *Project, *command.Rejection) {
	f, ok := r.Folder(folder)
	if !ok {
		return nil, nil, command.Refuse(command.CodeFolderNotFound, "there is no folder %s", sqltype.Quote(folder))
	}
	p, ok := r.Project(folder, project)
	if !ok {
		return f, nil, command.Refuse(command.CodeProjectNotFound, "the folder %s has no project %s", sqltype.Quote(f.Name), sqltype.Quote(project))
	}
	return f, p, nil
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func deployProject(r *Reader, e *edit, c *command.DeployProject) command.Result {
	folder, project, missing := folderAndProject(r, c.Folder, c.Project)
	switch {
	case folder == nil:
		return command.Result{Rejection: missing}
	case c.Project == "":
		return reject(command.CodeInvalidArgument, "a project needs a name")
	case !isDigest(c.Blob):
		return reject(command.CodeInvalidArgument, "%s is no SHA-256 in lower-case hexadecimal", sqltype.Quote(c.Blob))
	}
	manifest, err := command.UnpackManifest(c.Manifest)
	if err != nil {
		return reject(command.CodeInvalidProject, "the project's manifest cannot be read")
	}
	e.Version++
	version := &Version{
		LSN: e.Version, Name: c.Project, CreatedBy: e.caller.String(), Created: e.Time,
		Blob: c.Blob, Size: c.Size, Password: c.Password, Manifest: manifest, FirstParameterID: e.Parameter + 1,
	}
	if project == nil {
		e.Project++
		project = &Project{ID: e.Project, FolderID: folder.ID, Name: c.Project, Created: e.Time}
		e.add(tableProjects, project)
	} else {
		version.Name = project.Name
		project = new(*project)
		e.replace(tableProjects, project)
	}
	version.ProjectID = project.ID
	if version.PackageIDs, err = e.packageIDs(r, project, &manifest); err != nil {
		return reject(command.CodeInvalidProject, "%s", err)
	}
	e.Parameter += int64(len(manifest.Parameters))
	for i := range manifest.Packages {
		e.Parameter += int64(len(manifest.Packages[i].Parameters))
	}
	project.Description, project.FormatVersion = manifest.Description, manifest.FormatVersion
	project.DeployedBy, project.LastDeployed, project.Version = e.caller.String(), e.Time, version.LSN
	e.add(tableVersions, version)

	e.Operation++
	op := &Operation{
		ID: e.Operation, Type: OperationDeployProject, ObjectType: ObjectProject, ObjectID: project.ID, ObjectName: project.Name,
		Status: Succeeded, Created: e.Time, Ended: e.Time, Caller: e.caller.String(),
	}
	op.Notes = e.note(nil, MessageInformation, "Project %s deployed to folder %s as version %d with %d packages.",
		sqltype.Quote(project.Name), sqltype.Quote(folder.Name), version.LSN, len(manifest.Packages))
	for _, w := range c.Warnings {
		op.Notes = e.note(op.Notes, MessageWarning, "%s", w)
	}
	e.add(tableOperations, op)
	return command.Result{Value: op.ID}
}

// packageIDs numbers the packages: one that the current version has by name keeps its id.
func (e *edit) packageIDs(r *Reader, project *Project, manifest *command.Manifest) ([]int64, error) {
	known := map[string]int64{}
	if v, ok := r.Version(project.Version); ok {
		for i := range v.Manifest.Packages {
			known[sqltype.Fold(v.Manifest.Packages[i].Name)] = v.PackageIDs[i]
		}
	}
	ids := make([]int64, len(manifest.Packages))
	for i := range manifest.Packages {
		name := sqltype.Fold(manifest.Packages[i].Name)
		id, ok := known[name]
		if !ok {
			e.Package++
			id = e.Package
			known[name] = id
		}
		if slices.Contains(ids[:i], id) {
			return nil, fmt.Errorf("the project has the package %s twice", sqltype.Quote(manifest.Packages[i].Name))
		}
		ids[i] = id
	}
	return ids, nil
}

// deleteProject refuses while an execution of the project waits or runs, since its worker may still have to fetch the
// file. One that was only created does not hold the project: starting it is refused from then on.
func deleteProject(r *Reader, e *edit, c *command.DeleteProject) command.Result {
	folder, project, missing := folderAndProject(r, c.Folder, c.Project)
	if missing != nil {
		return command.Result{Rejection: missing}
	}
	for x := range rowsBy[*Execution](r, tableLive, byProject, key(project.ID), false) {
		if x.Status != Created {
			return reject(command.CodeProjectInUse, "execution %d of the project %s is %s: wait for its end or stop it", x.ID, sqltype.Quote(project.Name), x.Status)
		}
	}
	e.remove(tableProjects, project)
	e.forgetTallies(r, folder.Name, project.Name)
	for v := range r.Versions(project.ID) {
		v = new(*v)
		v.Orphan = true
		e.replace(tableVersions, v)
	}
	return command.Result{}
}
