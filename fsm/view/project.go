package view

import (
	"iter"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

const noValidation = "nothing is validated"

func foldersView() *View {
	type folder = *catalog.Folder
	return declare(declaration[folder]{
		Name: "folders", Permission: command.MayReadFolders, Key: []string{"folder_id"},
		Doc: "The folders that projects lie in.",
		Columns: []column[folder]{
			{Name: "folder_id", Type: sqltype.BigInt, Doc: "the folder", Get: func(f folder) any { return f.ID }},
			{Name: "name", Type: sqltype.Sysname, Doc: "unique in the catalog", Get: func(f folder) any { return f.Name }},
			{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "description",
				Get: func(f folder) any { return orNull(f.Description) }},
			{Name: "created_by_sid", Type: sqltype.VarBinary(85), Null: noIdentities},
			{Name: "created_by_name", Type: sqltype.NVarChar(128), Doc: "who created it",
				Get: func(f folder) any { return f.CreatedBy }},
			{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when",
				Get: func(f folder) any { return shownTime(f.Created) }},
		},
		Visible: func(q *Query, f folder) bool {
			return catalog.Can(q.Reader, q.Caller, command.RightRead, command.FolderObject(f.ID))
		},
		Paths: []path[folder]{
			{On: "name", Cost: oneRow, In: func(q *Query, names []any) iter.Seq[folder] {
				return found(q, names, q.Reader.Folder)
			}},
			{On: "folder_id", Cost: oneRow, Ordered: true, In: func(q *Query, ids []any) iter.Seq[folder] {
				return found(q, ids, q.Reader.FolderByID)
			}, From: func(q *Query, _ any) iter.Seq[folder] { return walked(q, q.Reader.Folders()) }},
		},
	})
}

func projectsView() *View {
	type project = *catalog.Project
	return declare(declaration[project]{
		Name: "projects", Permission: command.MayReadProjects, Key: []string{"project_id"},
		Doc: "The projects, each with its current version.",
		Columns: []column[project]{
			{Name: "project_id", Type: sqltype.BigInt, Doc: "the project", Get: func(p project) any { return p.ID }},
			{Name: "folder_id", Type: sqltype.BigInt, Doc: "its folder", Get: func(p project) any { return p.FolderID }},
			{Name: "name", Type: sqltype.Sysname, Doc: "unique in its folder", Get: func(p project) any { return p.Name }},
			{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file",
				Get: func(p project) any { return orNull(p.Description) }},
			{Name: "project_format_version", Type: sqltype.Int, Nullable: true, Doc: "from the project file",
				Get: func(p project) any { return int64(p.FormatVersion) }},
			{Name: "deployed_by_sid", Type: sqltype.VarBinary(85), Null: noIdentities},
			{Name: "deployed_by_name", Type: sqltype.NVarChar(128), Doc: "who deployed the current version",
				Get: func(p project) any { return p.DeployedBy }},
			{Name: "last_deployed_time", Type: sqltype.DateTimeOffset, Doc: "when the current version was deployed",
				Get: func(p project) any { return shownTime(p.LastDeployed) }},
			{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when the first version was deployed",
				Get: func(p project) any { return shownTime(p.Created) }},
			{Name: "object_version_lsn", Type: sqltype.BigInt, Doc: "the current version",
				Get: func(p project) any { return p.Version }},
			{Name: "validation_status", Type: sqltype.Char1, Null: noValidation},
			{Name: "last_validation_time", Type: sqltype.DateTimeOffset, Null: noValidation},
		},
		Visible: func(q *Query, p project) bool { return seesProject(q, p.ID) },
		Paths: []path[project]{
			{On: "folder_id", Cost: liveRows, In: projectsInFolders},
			{On: "project_id", Cost: oneRow, Ordered: true, In: projectsWithIDs,
				From: func(q *Query, _ any) iter.Seq[project] { return walked(q, q.Reader.Projects()) }},
		},
	})
}

func projectsWithIDs(q *Query, ids []any) iter.Seq[*catalog.Project] {
	return found(q, ids, q.Reader.ProjectByID)
}

func projectsInFolders(q *Query, ids []any) iter.Seq[*catalog.Project] {
	return each(ids, q.Reader.ProjectsIn)
}

func objectVersionsView() *View {
	type version = *catalog.Version
	const noRestore = "a restored version is deployed anew"
	return declare(declaration[version]{
		Name: "object_versions", Permission: command.MayReadProjects, Key: []string{"object_version_lsn"},
		Doc: "The versions of projects that are kept.",
		Columns: []column[version]{
			{Name: "object_version_lsn", Type: sqltype.BigInt, Doc: "the version",
				Get: func(v version) any { return v.LSN }},
			{Name: "object_id", Type: sqltype.BigInt, Doc: "the project", Get: func(v version) any { return v.ProjectID }},
			{Name: "object_type", Type: sqltype.SmallInt, Doc: "20: a project",
				Get: func(version) any { return int64(catalog.ObjectProject) }},
			{Name: "object_name", Type: sqltype.Sysname, Doc: "the project's name",
				Get: func(v version) any { return v.Name }},
			{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file",
				Get: func(v version) any { return orNull(v.Manifest.Description) }},
			{Name: "created_by", Type: sqltype.NVarChar(128), Doc: "who deployed it",
				Get: func(v version) any { return v.CreatedBy }},
			{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when",
				Get: func(v version) any { return shownTime(v.Created) }},
			{Name: "restored_by", Type: sqltype.NVarChar(128), Null: noRestore},
			{Name: "last_restored_time", Type: sqltype.DateTimeOffset, Null: noRestore},
		},
		Visible: func(q *Query, v version) bool { return seesProject(q, v.ProjectID) },
		Paths: []path[version]{
			{On: "object_id", Cost: liveRows, In: func(q *Query, ids []any) iter.Seq[version] {
				return each(ids, q.Reader.Versions)
			}},
			{On: "object_version_lsn", Cost: oneRow, Ordered: true, In: func(q *Query, ids []any) iter.Seq[version] {
				return found(q, ids, q.Reader.Version)
			}, From: func(q *Query, _ any) iter.Seq[version] { return walked(q, q.Reader.AllVersions()) }},
		},
	})
}

// inProject is an element of the current version of a project.
type inProject struct {
	project *catalog.Project
	version *catalog.Version
}

// pathsInProject are those of a view over what the current versions hold, listed for one of them by list.
func pathsInProject[T any](list func(inProject) iter.Seq[T]) []path[T] {
	in := func(projects iter.Seq[*catalog.Project], q *Query) iter.Seq[T] {
		return func(yield func(T) bool) {
			for p := range projects {
				version, ok := q.Reader.Version(p.Version)
				if !ok {
					continue
				}
				for v := range list(inProject{p, version}) {
					if !yield(v) {
						return
					}
				}
			}
		}
	}
	return []path[T]{
		{On: "project_id", Cost: oneRow, In: func(q *Query, ids []any) iter.Seq[T] { return in(projectsWithIDs(q, ids), q) }},
		{From: func(q *Query, _ any) iter.Seq[T] { return in(q.Reader.Projects(), q) }},
	}
}

// pack is a package of a project, by its position.
type pack struct {
	inProject
	index int
	*command.Package
}

func packagesView() *View {
	return declare(declaration[pack]{
		Name: "packages", Permission: command.MayReadProjects, Key: []string{"package_id"},
		Doc: "The packages of the current versions of projects.",
		Columns: []column[pack]{
			{Name: "package_id", Type: sqltype.BigInt, Doc: "the package; it keeps its id while its name stays in the project",
				Get: func(p pack) any {
					if p.index < len(p.version.PackageIDs) {
						return p.version.PackageIDs[p.index]
					}
					return int64(0)
				}},
			{Name: "name", Type: sqltype.NVarChar(256), Doc: "with its extension", Get: func(p pack) any { return p.Name }},
			{Name: "package_guid", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "from the project file",
				Get: func(p pack) any { return guidOrNull(p.GUID) }},
			{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file",
				Get: func(p pack) any { return orNull(p.Description) }},
			{Name: "package_format_version", Type: sqltype.Int, Nullable: true, Doc: "6: 2012, 8: 2016 and later",
				Get: func(p pack) any { return int64(p.FormatVersion) }},
			{Name: "version_major", Type: sqltype.Int, Doc: "from the project file",
				Get: func(p pack) any { return int64(p.VersionMajor) }},
			{Name: "version_minor", Type: sqltype.Int, Doc: "from the project file",
				Get: func(p pack) any { return int64(p.VersionMinor) }},
			{Name: "version_build", Type: sqltype.Int, Doc: "from the project file",
				Get: func(p pack) any { return int64(p.VersionBuild) }},
			{Name: "version_comments", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file",
				Get: func(p pack) any { return orNull(p.VersionComments) }},
			{Name: "version_guid", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "from the project file",
				Get: func(p pack) any { return guidOrNull(p.VersionGUID) }},
			{Name: "project_id", Type: sqltype.BigInt, Doc: "its project", Get: func(p pack) any { return p.project.ID }},
			{Name: "entry_point", Type: sqltype.Bit, Doc: "whether an execution may begin with it",
				Get: func(p pack) any { return p.EntryPoint }},
			{Name: "validation_status", Type: sqltype.Char1, Null: noValidation},
			{Name: "last_validation_time", Type: sqltype.DateTimeOffset, Null: noValidation},
		},
		Visible: func(q *Query, p pack) bool { return seesProject(q, p.project.ID) },
		Paths: pathsInProject(func(in inProject) iter.Seq[pack] {
			return func(yield func(pack) bool) {
				for i := range in.version.Manifest.Packages {
					if !yield(pack{in, i, &in.version.Manifest.Packages[i]}) {
						return
					}
				}
			}
		}),
	})
}

// parameter is a parameter of a project or of one of its packages.
type parameter struct {
	inProject
	id         int64
	objectType int64
	object     string
	*command.Parameter
}

func objectParametersView() *View {
	const noValues = "the values of parameters are in the project file"
	return declare(declaration[parameter]{
		Name: "object_parameters", Permission: command.MayReadProjects, Key: []string{"parameter_id"},
		Doc: "The parameters of the current versions of projects and of their packages.",
		Columns: []column[parameter]{
			{Name: "parameter_id", Type: sqltype.BigInt, Doc: "the parameter", Get: func(p parameter) any { return p.id }},
			{Name: "project_id", Type: sqltype.BigInt, Doc: "its project",
				Get: func(p parameter) any { return p.project.ID }},
			{Name: "object_type", Type: sqltype.SmallInt, Doc: "20: of the project, 30: of a package",
				Get: func(p parameter) any { return p.objectType }},
			{Name: "object_name", Type: sqltype.Sysname, Doc: "the project or the package",
				Get: func(p parameter) any { return p.object }},
			{Name: "parameter_name", Type: sqltype.Sysname, Doc: "CM. names belong to connection managers",
				Get: func(p parameter) any { return p.Name }},
			{Name: "data_type", Type: sqltype.NVarChar(128), Doc: "Int32, String, …",
				Get: func(p parameter) any { return p.Type }},
			{Name: "required", Type: sqltype.Bit, Doc: "whether an execution needs a value",
				Get: func(p parameter) any { return p.Required }},
			{Name: "sensitive", Type: sqltype.Bit, Doc: "whether its value is secret",
				Get: func(p parameter) any { return p.Sensitive }},
			{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file",
				Get: func(p parameter) any { return orNull(p.Description) }},
			{Name: "design_default_value", Type: sqltype.Variant, Nullable: true,
				Doc: "from the project file; NULL when sensitive",
				Get: func(p parameter) any { return catalog.Variant(p.Default) }},
			{Name: "default_value", Type: sqltype.Variant, Null: noValues},
			{Name: "value_type", Type: sqltype.Char1, Nullable: true, Doc: "V: a literal",
				Get: func(parameter) any { return "V" }},
			{Name: "value_set", Type: sqltype.Bit, Doc: "whether default_value is set",
				Get: func(parameter) any { return false }},
			{Name: "referenced_variable_name", Type: sqltype.NVarChar(128), Null: "there are no environments yet"},
			{Name: "validation_status", Type: sqltype.Char1, Null: noValidation},
			{Name: "last_validation_time", Type: sqltype.DateTimeOffset, Null: noValidation},
		},
		Visible: func(q *Query, p parameter) bool { return seesProject(q, p.project.ID) },
		Paths:   pathsInProject(parametersOf),
	})
}

// parametersOf are the project's parameters, then those of each package. Their ids follow each other.
func parametersOf(in inProject) iter.Seq[parameter] {
	return func(yield func(parameter) bool) {
		id := in.version.FirstParameterID
		yieldAll := func(objectType int64, object string, declared []command.Parameter) bool {
			for i := range declared {
				if !yield(parameter{in, id, objectType, object, &declared[i]}) {
					return false
				}
				id++
			}
			return true
		}
		if !yieldAll(catalog.ObjectProject, in.project.Name, in.version.Manifest.Parameters) {
			return
		}
		for _, p := range in.version.Manifest.Packages {
			if !yieldAll(catalog.ObjectPackage, p.Name, p.Parameters) {
				return
			}
		}
	}
}
