package view

import (
	"context"
	"iter"
	"slices"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func projectViews() []*View {
	return []*View{
		{
			Name: "folders", Permission: catalog.Readers, Key: []string{"folder_id"},
			Doc: "The folders that projects lie in.",
			Columns: []registry.Column{
				{Name: "folder_id", Type: sqltype.BigInt, Doc: "the folder"},
				{Name: "name", Type: sqltype.Sysname, Doc: "unique in the catalog"},
				{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "description"},
				{Name: "created_by_sid", Type: sqltype.VarBinary(85), Nullable: true,
					Doc: "always NULL: identities are certificates"},
				{Name: "created_by_name", Type: sqltype.NVarChar(128), Doc: "who created it"},
				{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when"},
			},
			Rows: rowsOf(
				func(q *Query) iter.Seq[*catalog.Folder] {
					if name, ok := q.Equal["name"].(string); ok {
						return one(q.View.Folder(name))
					}
					if id, ok := equalInt(q, "folder_id"); ok {
						return one(q.View.FolderByID(id))
					}
					return q.View.Folders()
				},
				func(_ *Query, f *catalog.Folder) registry.Row {
					return registry.Row{f.ID, f.Name, orNull(f.Description), nil, f.CreatedBy, timeOrNull(f.Created)}
				}),
		},
		{
			Name: "projects", Permission: catalog.Readers, Key: []string{"project_id"},
			Doc: "The projects, each with its current version.",
			Columns: []registry.Column{
				{Name: "project_id", Type: sqltype.BigInt, Doc: "the project"},
				{Name: "folder_id", Type: sqltype.BigInt, Doc: "its folder"},
				{Name: "name", Type: sqltype.Sysname, Doc: "unique in its folder"},
				{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "project_format_version", Type: sqltype.Int, Nullable: true, Doc: "from the project file"},
				{Name: "deployed_by_sid", Type: sqltype.VarBinary(85), Nullable: true,
					Doc: "always NULL: identities are certificates"},
				{Name: "deployed_by_name", Type: sqltype.NVarChar(128), Doc: "who deployed the current version"},
				{Name: "last_deployed_time", Type: sqltype.DateTimeOffset, Doc: "when the current version was deployed"},
				{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when the first version was deployed"},
				{Name: "object_version_lsn", Type: sqltype.BigInt, Doc: "the current version"},
				{Name: "validation_status", Type: sqltype.Char1, Nullable: true, Doc: "always NULL: nothing was validated"},
				{Name: "last_validation_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "always NULL"},
			},
			Rows: rowsOf(someProjects, func(_ *Query, p *catalog.Project) registry.Row {
				return registry.Row{p.ID, p.FolderID, p.Name, orNull(p.Description), int64(p.FormatVersion), nil, p.DeployedBy,
					timeOrNull(p.LastDeployed), timeOrNull(p.Created), p.Version, nil, nil}
			}),
		},
		{
			Name: "object_versions", Permission: catalog.Readers, Key: []string{"object_version_lsn"},
			Doc: "The versions of projects that are kept.",
			Columns: []registry.Column{
				{Name: "object_version_lsn", Type: sqltype.BigInt, Doc: "the version"},
				{Name: "object_id", Type: sqltype.BigInt, Doc: "the project"},
				{Name: "object_type", Type: sqltype.SmallInt, Doc: "20: a project"},
				{Name: "object_name", Type: sqltype.Sysname, Doc: "the project's name"},
				{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "created_by", Type: sqltype.NVarChar(128), Doc: "who deployed it"},
				{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when"},
				{Name: "restored_by", Type: sqltype.NVarChar(128), Nullable: true, Doc: "who restored it last"},
				{Name: "last_restored_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it was restored last"},
			},
			Rows: rowsOf(
				func(q *Query) iter.Seq[*catalog.Version] {
					if lsn, ok := equalInt(q, "object_version_lsn"); ok {
						return one(q.View.Version(lsn))
					}
					if id, ok := equalInt(q, "object_id"); ok {
						return q.View.Versions(id)
					}
					return q.View.AllVersions()
				},
				func(_ *Query, v *catalog.Version) registry.Row {
					return registry.Row{v.LSN, v.ProjectID, int64(catalog.ObjectProject), v.Name, orNull(v.Manifest.Description),
						v.CreatedBy,
						timeOrNull(v.Created), nil, nil}
				}),
		},
		{
			Name: "packages", Permission: catalog.Readers, Key: []string{"package_id"},
			Doc: "The packages of the current versions of projects.",
			Columns: []registry.Column{
				{Name: "package_id", Type: sqltype.BigInt, Doc: "the package; it keeps its id while its name stays in the project"},
				{Name: "name", Type: sqltype.NVarChar(256), Doc: "with its extension"},
				{Name: "package_guid", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "from the project file"},
				{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "package_format_version", Type: sqltype.Int, Nullable: true, Doc: "6: 2012, 8: 2016 and later"},
				{Name: "version_major", Type: sqltype.Int, Doc: "from the project file"},
				{Name: "version_minor", Type: sqltype.Int, Doc: "from the project file"},
				{Name: "version_build", Type: sqltype.Int, Doc: "from the project file"},
				{Name: "version_comments", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "version_guid", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "from the project file"},
				{Name: "project_id", Type: sqltype.BigInt, Doc: "its project"},
				{Name: "entry_point", Type: sqltype.Bit, Doc: "whether an execution may begin with it"},
				{Name: "validation_status", Type: sqltype.Char1, Nullable: true, Doc: "always NULL: nothing was validated"},
				{Name: "last_validation_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "always NULL"},
			},
			Rows: packageRows,
		},
		{
			Name: "object_parameters", Permission: catalog.Readers, Key: []string{"parameter_id"},
			Doc: "The parameters of the current versions of projects and of their packages.",
			Columns: []registry.Column{
				{Name: "parameter_id", Type: sqltype.BigInt, Doc: "the parameter"},
				{Name: "project_id", Type: sqltype.BigInt, Doc: "its project"},
				{Name: "object_type", Type: sqltype.SmallInt, Doc: "20: of the project, 30: of a package"},
				{Name: "object_name", Type: sqltype.Sysname, Doc: "the project or the package"},
				{Name: "parameter_name", Type: sqltype.Sysname, Doc: "CM. names belong to connection managers"},
				{Name: "data_type", Type: sqltype.NVarChar(128), Doc: "Int32, String, …"},
				{Name: "required", Type: sqltype.Bit, Doc: "whether an execution needs a value"},
				{Name: "sensitive", Type: sqltype.Bit, Doc: "whether its value is secret"},
				{Name: "description", Type: sqltype.NVarChar(1024), Nullable: true, Doc: "from the project file"},
				{Name: "design_default_value", Type: sqltype.Variant, Nullable: true,
					Doc: "from the project file; NULL when sensitive"},
				{Name: "default_value", Type: sqltype.Variant, Nullable: true, Doc: "the value that the catalog holds instead"},
				{Name: "value_type", Type: sqltype.Char1, Nullable: true, Doc: "V: a literal"},
				{Name: "value_set", Type: sqltype.Bit, Doc: "whether default_value is set"},
				{Name: "referenced_variable_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "always NULL"},
				{Name: "validation_status", Type: sqltype.Char1, Nullable: true, Doc: "always NULL"},
				{Name: "last_validation_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "always NULL"},
			},
			Rows: parameterRows,
		},
	}
}

// someProjects are the projects that a filter by project or folder leaves.
func someProjects(q *Query) iter.Seq[*catalog.Project] {
	if id, ok := equalInt(q, "project_id"); ok {
		return one(q.View.ProjectByID(id))
	}
	if id, ok := equalInt(q, "folder_id"); ok {
		return q.View.ProjectsIn(id)
	}
	return q.View.Projects()
}

// currentVersions yields the current version of each project that a filter leaves.
func currentVersions(q *Query) iter.Seq2[*catalog.Project, *catalog.Version] {
	return func(yield func(*catalog.Project, *catalog.Version) bool) {
		for p := range someProjects(q) {
			if v, ok := q.View.Version(p.Version); ok && !yield(p, v) {
				return
			}
		}
	}
}

func packageRows(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
	return func(yield func(registry.Row, error) bool) {
		for project, v := range currentVersions(q) {
			for i := range v.Manifest.Packages {
				p := &v.Manifest.Packages[i]
				row := registry.Row{packageID(v, i), p.Name, guidOrNull(p.GUID), orNull(p.Description), int64(p.FormatVersion),
					int64(p.VersionMajor), int64(p.VersionMinor), int64(p.VersionBuild), orNull(p.VersionComments),
					guidOrNull(p.VersionGUID), project.ID, p.EntryPoint, nil, nil}
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

func packageID(v *catalog.Version, i int) int64 {
	if i < len(v.PackageIDs) {
		return v.PackageIDs[i]
	}
	return 0
}

func parameterRows(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
	return func(yield func(registry.Row, error) bool) {
		for project, v := range currentVersions(q) {
			id := v.FirstParameterID
			list := func(objectType int64, object string, declared []command.Parameter) bool {
				for i := range declared {
					p := &declared[i]
					row := registry.Row{id, project.ID, objectType, object, p.Name, p.Type, p.Required, p.Sensitive,
						orNull(p.Description),
						catalog.Variant(p.Default), nil, "V", false, nil, nil, nil}
					id++
					if !yield(row, nil) {
						return false
					}
				}
				return true
			}
			packages := slices.Values(v.Manifest.Packages)
			if !list(catalog.ObjectProject, project.Name, v.Manifest.Parameters) {
				return
			}
			for p := range packages {
				if !list(catalog.ObjectPackage, p.Name, p.Parameters) {
					return
				}
			}
		}
	}
}
