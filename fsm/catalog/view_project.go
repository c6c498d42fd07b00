package catalog

import (
	"context"
	"iter"
	"slices"

	"scaleout/fsm/command"
)

func projectViews() []*View {
	return []*View{
		{
			Name: "folders", Permission: readers, Key: []string{"folder_id"},
			Doc: "The folders that projects lie in.",
			Columns: []Column{
				{Name: "folder_id", Type: BigInt, Doc: "the folder"},
				{Name: "name", Type: Sysname, Doc: "unique in the catalog"},
				{Name: "description", Type: NVarChar(1024), Nullable: true, Doc: "description"},
				{Name: "created_by_sid", Type: VarBinary(85), Nullable: true, Doc: "always NULL: identities are certificates"},
				{Name: "created_by_name", Type: NVarChar(128), Doc: "who created it"},
				{Name: "created_time", Type: DateTimeOffset, Doc: "when"},
			},
			Rows: rowsOf(
				func(q *Query) iter.Seq[*Folder] {
					if name, ok := q.Equal["name"].(string); ok {
						return one(q.View.Folder(name))
					}
					if id, ok := equalInt(q, "folder_id"); ok {
						return one(q.View.FolderByID(id))
					}
					return q.View.Folders()
				},
				func(_ *Query, f *Folder) Row {
					return Row{f.ID, f.Name, orNull(f.Description), nil, f.CreatedBy, timeOrNull(f.Created)}
				}),
		},
		{
			Name: "projects", Permission: readers, Key: []string{"project_id"},
			Doc: "The projects, each with its current version.",
			Columns: []Column{
				{Name: "project_id", Type: BigInt, Doc: "the project"},
				{Name: "folder_id", Type: BigInt, Doc: "its folder"},
				{Name: "name", Type: Sysname, Doc: "unique in its folder"},
				{Name: "description", Type: NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "project_format_version", Type: Int, Nullable: true, Doc: "from the project file"},
				{Name: "deployed_by_sid", Type: VarBinary(85), Nullable: true, Doc: "always NULL: identities are certificates"},
				{Name: "deployed_by_name", Type: NVarChar(128), Doc: "who deployed the current version"},
				{Name: "last_deployed_time", Type: DateTimeOffset, Doc: "when the current version was deployed"},
				{Name: "created_time", Type: DateTimeOffset, Doc: "when the first version was deployed"},
				{Name: "object_version_lsn", Type: BigInt, Doc: "the current version"},
				{Name: "validation_status", Type: Char1, Nullable: true, Doc: "always NULL: nothing was validated"},
				{Name: "last_validation_time", Type: DateTimeOffset, Nullable: true, Doc: "always NULL"},
			},
			Rows: rowsOf(someProjects, func(_ *Query, p *Project) Row {
				return Row{p.ID, p.FolderID, p.Name, orNull(p.Description), int64(p.FormatVersion), nil, p.DeployedBy,
					timeOrNull(p.LastDeployed), timeOrNull(p.Created), p.Version, nil, nil}
			}),
		},
		{
			Name: "object_versions", Permission: readers, Key: []string{"object_version_lsn"},
			Doc: "The versions of projects that are kept.",
			Columns: []Column{
				{Name: "object_version_lsn", Type: BigInt, Doc: "the version"},
				{Name: "object_id", Type: BigInt, Doc: "the project"},
				{Name: "object_type", Type: SmallInt, Doc: "20: a project"},
				{Name: "object_name", Type: Sysname, Doc: "the project's name"},
				{Name: "description", Type: NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "created_by", Type: NVarChar(128), Doc: "who deployed it"},
				{Name: "created_time", Type: DateTimeOffset, Doc: "when"},
				{Name: "restored_by", Type: NVarChar(128), Nullable: true, Doc: "who restored it last"},
				{Name: "last_restored_time", Type: DateTimeOffset, Nullable: true, Doc: "when it was restored last"},
			},
			Rows: rowsOf(
				func(q *Query) iter.Seq[*Version] {
					if lsn, ok := equalInt(q, "object_version_lsn"); ok {
						return one(q.View.Version(lsn))
					}
					if id, ok := equalInt(q, "object_id"); ok {
						return q.View.Versions(id)
					}
					return q.View.AllVersions()
				},
				func(_ *Query, v *Version) Row {
					return Row{v.LSN, v.ProjectID, int64(ObjectProject), v.Name, orNull(v.Manifest.Description), v.CreatedBy,
						timeOrNull(v.Created), nil, nil}
				}),
		},
		{
			Name: "packages", Permission: readers, Key: []string{"package_id"},
			Doc: "The packages of the current versions of projects.",
			Columns: []Column{
				{Name: "package_id", Type: BigInt, Doc: "the package; it keeps its id while its name stays in the project"},
				{Name: "name", Type: NVarChar(256), Doc: "with its extension"},
				{Name: "package_guid", Type: UniqueIdentifier, Nullable: true, Doc: "from the project file"},
				{Name: "description", Type: NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "package_format_version", Type: Int, Nullable: true, Doc: "6: 2012, 8: 2016 and later"},
				{Name: "version_major", Type: Int, Doc: "from the project file"},
				{Name: "version_minor", Type: Int, Doc: "from the project file"},
				{Name: "version_build", Type: Int, Doc: "from the project file"},
				{Name: "version_comments", Type: NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "version_guid", Type: UniqueIdentifier, Nullable: true, Doc: "from the project file"},
				{Name: "project_id", Type: BigInt, Doc: "its project"},
				{Name: "entry_point", Type: Bit, Doc: "whether an execution may begin with it"},
				{Name: "validation_status", Type: Char1, Nullable: true, Doc: "always NULL: nothing was validated"},
				{Name: "last_validation_time", Type: DateTimeOffset, Nullable: true, Doc: "always NULL"},
			},
			Rows: packageRows,
		},
		{
			Name: "object_parameters", Permission: readers, Key: []string{"parameter_id"},
			Doc: "The parameters of the current versions of projects and of their packages.",
			Columns: []Column{
				{Name: "parameter_id", Type: BigInt, Doc: "the parameter"},
				{Name: "project_id", Type: BigInt, Doc: "its project"},
				{Name: "object_type", Type: SmallInt, Doc: "20: of the project, 30: of a package"},
				{Name: "object_name", Type: Sysname, Doc: "the project or the package"},
				{Name: "parameter_name", Type: Sysname, Doc: "CM. names belong to connection managers"},
				{Name: "data_type", Type: NVarChar(128), Doc: "Int32, String, …"},
				{Name: "required", Type: Bit, Doc: "whether an execution needs a value"},
				{Name: "sensitive", Type: Bit, Doc: "whether its value is secret"},
				{Name: "description", Type: NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "design_default_value", Type: SQLVariant, Nullable: true, Doc: "from the project file; NULL when sensitive"},
				{Name: "default_value", Type: SQLVariant, Nullable: true, Doc: "the value that the catalog holds instead"},
				{Name: "value_type", Type: Char1, Nullable: true, Doc: "V: a literal"},
				{Name: "value_set", Type: Bit, Doc: "whether default_value is set"},
				{Name: "referenced_variable_name", Type: NVarChar(128), Nullable: true, Doc: "always NULL"},
				{Name: "validation_status", Type: Char1, Nullable: true, Doc: "always NULL"},
				{Name: "last_validation_time", Type: DateTimeOffset, Nullable: true, Doc: "always NULL"},
			},
			Rows: parameterRows,
		},
	}
}

// someProjects are the projects that a filter by project or folder leaves.
func someProjects(q *Query) iter.Seq[*Project] {
	if id, ok := equalInt(q, "project_id"); ok {
		return one(q.View.ProjectByID(id))
	}
	if id, ok := equalInt(q, "folder_id"); ok {
		return q.View.ProjectsIn(id)
	}
	return q.View.Projects()
}

// currentVersions yields the current version of each project that a filter leaves.
func currentVersions(q *Query) iter.Seq2[*Project, *Version] {
	return func(yield func(*Project, *Version) bool) {
		for p := range someProjects(q) {
			if v, ok := q.View.Version(p.Version); ok && !yield(p, v) {
				return
			}
		}
	}
}

func packageRows(_ context.Context, q *Query) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for project, v := range currentVersions(q) {
			for i := range v.Manifest.Packages {
				p := &v.Manifest.Packages[i]
				row := Row{packageID(v, i), p.Name, guidOrNull(p.GUID), orNull(p.Description), int64(p.FormatVersion),
					int64(p.VersionMajor), int64(p.VersionMinor), int64(p.VersionBuild), orNull(p.VersionComments),
					guidOrNull(p.VersionGUID), project.ID, p.EntryPoint, nil, nil}
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

func packageID(v *Version, i int) int64 {
	if i < len(v.PackageIDs) {
		return v.PackageIDs[i]
	}
	return 0
}

func parameterRows(_ context.Context, q *Query) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for project, v := range currentVersions(q) {
			id := v.FirstParameterID
			list := func(objectType int64, object string, declared []command.Parameter) bool {
				for i := range declared {
					p := &declared[i]
					row := Row{id, project.ID, objectType, object, p.Name, p.Type, p.Required, p.Sensitive, orNull(p.Description),
						variant(p.Default), nil, "V", false, nil, nil, nil}
					id++
					if !yield(row, nil) {
						return false
					}
				}
				return true
			}
			packages := slices.Values(v.Manifest.Packages)
			if !list(ObjectProject, project.Name, v.Manifest.Parameters) {
				return
			}
			for p := range packages {
				if !list(ObjectPackage, p.Name, p.Parameters) {
					return
				}
			}
		}
	}
}
