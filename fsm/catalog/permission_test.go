package catalog

import (
	"errors"
	"slices"
	"testing"

	"scaleout/fsm/command"
)

// What each role may do, on some object of a type and on one of another caller: the whole of what Can answers.
func TestCan(t *testing.T) {
	some, others := int64(0), int64(7)
	for _, c := range []struct {
		right command.Right
		on    command.ObjectType
		id    int64
		roles []string // beside ssis_admin
	}{
		{command.RightRead, command.OnCatalog, some, []string{"", command.RoleExecutor, command.RoleReader,
			command.RoleMonitor}},
		{command.RightModify, command.OnCatalog, some, nil},
		{command.RightExecute, command.OnCatalog, some, []string{command.RoleExecutor}},
		{command.RightRead, command.OnCluster, some, []string{command.RoleMonitor}},
		{command.RightModify, command.OnCluster, some, nil},
		{command.RightRead, command.OnFolder, some, []string{command.RoleExecutor, command.RoleReader, command.RoleMonitor}},
		{command.RightRead, command.OnFolder, others, []string{command.RoleExecutor, command.RoleReader,
			command.RoleMonitor}},
		{command.RightModify, command.OnFolder, others, nil},
		{command.RightCreateObjects, command.OnFolder, some, nil},
		{command.RightCreateObjects, command.OnFolder, others, nil},
		{command.RightRead, command.OnProject, others, []string{command.RoleExecutor, command.RoleReader,
			command.RoleMonitor}},
		{command.RightModify, command.OnProject, others, nil},
		{command.RightExecute, command.OnProject, others, []string{command.RoleExecutor}},
		{command.RightRead, command.OnOperation, some, []string{command.RoleExecutor, command.RoleReader,
			command.RoleMonitor}},
		{command.RightRead, command.OnOperation, others, []string{command.RoleReader, command.RoleMonitor}},
		{command.RightModify, command.OnOperation, some, []string{command.RoleExecutor}},
		{command.RightModify, command.OnOperation, others, nil},
		// What nobody has asked for so far is for administrators.
		{command.RightExecute, command.OnCluster, some, nil},
		{command.RightExecute, command.OnFolder, others, nil},
		{command.RightExecute, command.OnOperation, others, nil},
		{command.RightRead, command.ObjectType(3), others, nil},
	} {
		object := command.Object{Type: c.on, ID: c.id, Owner: "ada"}
		t.Run(c.right.String()+" "+c.on.String(), func(t *testing.T) {
			for _, role := range []string{"", command.RoleAdmin, command.RoleExecutor, command.RoleReader, command.RoleMonitor,
				command.RoleWorker} {
				caller := command.Caller{Kind: "user", Name: "eve"}
				if role != "" {
					caller.Roles = []string{role}
				}
				want := role == command.RoleAdmin || slices.Contains(c.roles, role) || slices.Contains(c.roles, "")
				if got := Can(nil, caller, c.right, object); got != want {
					t.Errorf("%q on %+v: %t", role, object, got)
				}
				caller.Kind = "worker"
				if Can(nil, caller, c.right, object) {
					t.Errorf("a worker with %q may", role)
				}
			}
			owner := command.Caller{Kind: "user", Name: "ada"}
			want := c.on == command.OnOperation && c.id != 0 || slices.Contains(c.roles, "")
			if got := Can(nil, owner, c.right, object); got != want {
				t.Errorf("its creator, without a role: %t", got)
			}
		})
	}
}

func TestPermissions(t *testing.T) {
	bob := command.Caller{Kind: "user", Name: "bob", Roles: []string{command.RoleExecutor, command.RoleReader}}
	for _, c := range []struct {
		name       string
		permission command.Permission
		caller     command.Caller
		want       *command.Rejection
	}{
		{"any of its rights is enough", append(slices.Clone(command.MayAdminister), command.MayExecuteProjects...), bob, nil},
		{"any user", command.MayConnect, command.Caller{Kind: "user", Name: "eve"}, nil},
		{"none is given to nobody", nil, command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}},
			command.Refuse(command.CodePermissionRole, "x", "ada", command.RoleAdmin, command.RoleAdmin)},
		{"another role", command.MayDeploy, bob,
			command.Refuse(command.CodePermissionRole, "x", "bob", "ssis_cluster_executor, ssis_logreader", command.RoleAdmin)},
		{"no role", command.MayRun, command.Caller{Kind: "user", Name: "eve"},
			command.Refuse(command.CodePermissionNoRole, "x", "eve", command.RoleExecutor, command.RoleAdmin)},
		{"another kind", command.MayConnect, command.Caller{Kind: "worker", Name: "w1"},
			command.Refuse(command.CodePermissionKind, "x", "w1", "worker")},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Authorize(nil, c.caller, c.permission, "x")
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var got *command.Rejection
			if !errors.As(err, &got) || got.Code != c.want.Code || !slices.Equal(got.Args, c.want.Args) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

// Transitions ask for the right on the very object, whatever a door asked before.
func TestTransitionsAskForTheObject(t *testing.T) {
	executor := []string{command.RoleExecutor}
	files := packedManifest(ready(t), "Load.dtsx")
	for _, c := range []struct {
		name    string
		cmd     command.Command
		roles   []string // not enough
		enough  []string
		refusal []string
	}{
		{"a new project", &command.DeployProject{Folder: "F", Project: "New", Blob: blobA, Size: 1, Manifest: files},
			executor, []string{command.RoleAdmin}, []string{"eve", "CREATE_OBJECTS", "folder", "F"}},
		{"a new version", &command.DeployProject{Folder: "F", Project: "P", Blob: blobA, Size: 1, Manifest: files},
			executor, []string{command.RoleAdmin}, []string{"eve", "MODIFY", "project", "P"}},
		{"an execution", &command.CreateExecution{Folder: "F", Project: "P", Package: "Load.dtsx", AnyWorker: true},
			nil, executor, []string{"eve", "EXECUTE", "project", "P"}},
		{"a project's end", &command.DeleteProject{Folder: "F", Project: "P"},
			executor, []string{command.RoleAdmin}, []string{"eve", "MODIFY", "project", "P"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ready(t)
			env, err := command.Wrap(c.cmd)
			if err != nil {
				t.Fatal(err)
			}
			env.Caller = command.Caller{Kind: "user", Name: "eve", Roles: c.roles}
			no := w.apply(env).Rejection
			if no == nil || no.Code != command.CodePermissionObject || !slices.Equal(no.Args, c.refusal) {
				t.Fatalf("%v, want %q", no, c.refusal)
			}
			env.Caller.Roles = c.enough
			if no := w.apply(env).Rejection; no != nil {
				t.Fatal(no)
			}
		})
	}
}
