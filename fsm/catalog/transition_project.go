package catalog

import (
	"slices"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

func createFolder(r *Reader, e *edit, c *command.CreateFolder) command.Result {
	if no := checkName("folder_name", c.Name); no != nil {
		return command.Result{Rejection: no}
	}
	if f, ok := r.Folder(c.Name); ok {
		return reject(command.CodeFolderExists, f.Name, f.ID)
	}
	e.Folder++
	e.add(tableFolders, &Folder{ID: e.Folder, Name: c.Name, Description: c.Description, CreatedBy: e.caller.String(),
		Created: e.Time})
	return command.Result{Value: e.Folder}
}

func deleteFolder(r *Reader, e *edit, c *command.DeleteFolder) command.Result {
	f, no := FindFolder(r, c.Name)
	if no != nil {
		return command.Result{Rejection: no}
	}
	for p := range r.ProjectsIn(f.ID) {
		return reject(command.CodeFolderNotEmpty, f.Name, p.Name)
	}
	e.remove(tableFolders, f)
	return command.Result{}
}

// renameFolder gives a folder another name; one that differs in case alone is another name, too. What is counted of its
// packages goes on under the new name.
func renameFolder(r *Reader, e *edit, c *command.RenameFolder) command.Result {
	f, no := FindFolder(r, c.Old)
	if no == nil {
		no = checkName("new_name", c.New)
	}
	if no != nil {
		return command.Result{Rejection: no}
	}
	if other, ok := r.Folder(c.New); ok && other.ID != f.ID {
		return reject(command.CodeFolderExists, other.Name, other.ID)
	}
	e.renameTallies(r, f.Name, c.New)
	f = new(*f)
	f.Name = c.New
	e.replace(tableFolders, f)
	return command.Result{}
}

// mostDescription is how many characters a folder's description has: as many as its column holds.
const mostDescription = 1024

func setFolderDescription(r *Reader, e *edit, c *command.SetFolderDescription) command.Result {
	f, no := FindFolder(r, c.Folder)
	if no != nil {
		return command.Result{Rejection: no}
	}
	if have := sqltype.Characters(c.Description); have > mostDescription {
		return reject(command.CodeDescription, have, mostDescription)
	}
	f = new(*f)
	f.Description = c.Description
	e.replace(tableFolders, f)
	return command.Result{}
}

// FindFolder is Reader.Folder with a refusal.
func FindFolder(r *Reader, name string) (*Folder, *command.Rejection) {
	f, ok := r.Folder(name)
	if !ok {
		return nil, command.Refuse(command.CodeFolderNotFound, name)
	}
	return f, nil
}

// folderAndProject finds what a command names.
func folderAndProject(r *Reader, folder, project string) (*Folder, *Project, *command.Rejection) {
	f, no := FindFolder(r, folder)
	if no != nil {
		return nil, nil, no
	}
	p, ok := r.Project(folder, project)
	if !ok {
		return f, nil, command.Refuse(command.CodeProjectNotFound, f.Name, project)
	}
	return f, p, nil
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// mayDeploy refuses who may neither add a project to the folder nor change the one that is there, nil for none.
func mayDeploy(r *Reader, e *edit, folder *Folder, project *Project) *command.Rejection {
	if project == nil {
		return e.may(r, command.RightCreateObjects, command.FolderObject(folder.ID), folder.Name)
	}
	return e.may(r, command.RightModify, command.ProjectObject(project.ID), project.Name)
}

func deployProject(r *Reader, e *edit, c *command.DeployProject) command.Result {
	folder, project, missing := folderAndProject(r, c.Folder, c.Project)
	switch {
	case folder == nil:
		return command.Result{Rejection: missing}
	case !isDigest(c.Blob):
		return reject(command.CodeDigest, c.Blob)
	}
	if no := mayDeploy(r, e, folder, project); no != nil {
		return command.Result{Rejection: no}
	}
	if no := checkName("project_name", c.Project); no != nil {
		return command.Result{Rejection: no}
	}
	manifest, err := command.UnpackManifest(c.Manifest)
	if err != nil {
		return reject(command.CodeInvalidManifest)
	}
	if no := checkManifest(&manifest); no != nil {
		return command.Result{Rejection: no}
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
	ids, twice := e.packageIDs(r, project, &manifest)
	if twice != "" {
		return reject(command.CodePackageTwice, twice)
	}
	version.PackageIDs = ids
	e.Parameter += int64(len(manifest.Parameters))
	for i := range manifest.Packages {
		e.Parameter += int64(len(manifest.Packages[i].Parameters))
	}
	project.Description, project.FormatVersion = manifest.Description, manifest.FormatVersion
	project.DeployedBy, project.LastDeployed, project.Version = e.caller.String(), e.Time, version.LSN
	e.add(tableVersions, version)

	e.Operation++
	op := &Operation{
		ID: e.Operation, Type: OperationDeployProject, ObjectType: ObjectProject, ObjectID: project.ID,
		ObjectName: project.Name,
		Status:     Succeeded, Created: e.Time, Ended: e.Time, Caller: e.caller.String(),
	}
	op.Notes = e.note(nil, MessageInformation, command.NoteDeployed, project.Name, folder.Name, version.LSN,
		len(manifest.Packages))
	for _, w := range c.Warnings {
		op.Notes = e.note(op.Notes, MessageWarning, w.Code, w.Args)
	}
	e.add(tableOperations, op)
	return command.Result{Value: op.ID}
}

// packageIDs numbers the packages: one that the current version has by name keeps its id. It names a package that the
// project has twice, "" for none.
func (e *edit) packageIDs(r *Reader, project *Project, manifest *command.Manifest) (ids []int64, twice string) {
	known := map[string]int64{}
	if v, ok := r.Version(project.Version); ok {
		for i := range v.Manifest.Packages {
			known[sqltype.Fold(v.Manifest.Packages[i].Name)] = v.PackageIDs[i]
		}
	}
	ids = make([]int64, len(manifest.Packages))
	for i := range manifest.Packages {
		name := sqltype.Fold(manifest.Packages[i].Name)
		id, ok := known[name]
		if !ok {
			e.Package++
			id = e.Package
			known[name] = id
		}
		if slices.Contains(ids[:i], id) {
			return nil, manifest.Packages[i].Name
		}
		ids[i] = id
	}
	return ids, ""
}

// deleteProject refuses while an execution of the project waits or runs, since its worker may still have to fetch the
// file. One that was only created does not hold the project: starting it is refused from then on.
func deleteProject(r *Reader, e *edit, c *command.DeleteProject) command.Result {
	folder, project, missing := folderAndProject(r, c.Folder, c.Project)
	if missing != nil {
		return command.Result{Rejection: missing}
	}
	if no := e.may(r, command.RightModify, command.ProjectObject(project.ID), project.Name); no != nil {
		return command.Result{Rejection: no}
	}
	for x := range rowsBy[*Execution](r, tableLive, byProject, key(project.ID), false) {
		if x.Status != Created {
			return reject(command.CodeProjectInUse, x.ID, project.Name, x.Status)
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
