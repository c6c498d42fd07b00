package catalog

import (
	"slices"
	"strings"

	"scaleout/fsm/command"
)

// Right is what somebody wants to do with an object, in the product's numbers (permission_type).
type Right int

// The rights that are asked for.
const (
	Read   Right = 1
	Modify Right = 2
)

// Object is what a right is about, in the product's numbers for permissions: 1 a folder, 2 a project, 3 an environment,
// 4 an operation.
type Object struct {
	Type  int
	ID    int64
	Owner string // who created it
}

// OperationObject is an operation, or an execution, which is one.
func OperationObject(id int64, owner string) Object { return Object{Type: 4, ID: id, Owner: owner} }

// Can reports whether a principal has a right on an object: by who created it and by the roles in the certificate. The
// reader is that of the state whose grants hold.
//
// An operation is seen by its creator and by those who read logs or monitor; its creator and administrators change it.
// Folders, projects and environments are seen by whoever may run packages or read logs, and changed by administrators.
func Can(_ *Reader, c command.Caller, right Right, o Object) bool {
	const operation = 4
	own := c.Kind == "user" && o.Type == operation && o.Owner == c.Name
	switch {
	case own, c.Is(command.RoleAdmin):
		return true
	case right == Read && o.Type == operation:
		return c.Is(command.RoleReader, command.RoleMonitor)
	case right == Read:
		return c.Is(Readers.Roles...)
	}
	return false
}

// mayChange refuses who may not change an execution.
func mayChange(r *Reader, c command.Caller, x *Execution) *command.Rejection {
	if Can(r, c, Modify, OperationObject(x.ID, x.Caller)) {
		return nil
	}
	return command.Refuse(command.CodePermissionOwner, x.ID, x.Caller, command.RoleAdmin)
}

// Permission says who may call a procedure or read a view: any of the roles (ssis_admin always may). No role means any
// user's certificate.
type Permission struct{ Roles []string }

// Who may call procedures and read views.
var (
	Admin    = Permission{Roles: []string{command.RoleAdmin}}
	Executor = Permission{Roles: []string{command.RoleExecutor}}
	Readers  = Permission{Roles: []string{command.RoleExecutor, command.RoleReader, command.RoleMonitor}}
	AnyUser  = Permission{}
)

// Allows reports whether the caller may: a user's certificate, and one of the roles where there are any.
func (p Permission) Allows(c command.Caller) bool {
	if len(p.Roles) == 0 {
		return c.Kind == "user"
	}
	return c.Is(p.Roles...)
}

// Authorize refuses a caller without the permission; what says what the caller wants to do, as in "call create_folder".
// Its error is a *command.Rejection.
func Authorize(what string, p Permission, c command.Caller) error {
	if p.Allows(c) {
		return nil
	}
	if c.Kind != "user" {
		return command.Refuse(command.CodePermissionKind, what, c.Name, c.Kind)
	}
	roles := p.Roles
	if !slices.Contains(roles, command.RoleAdmin) {
		roles = append([]string{command.RoleAdmin}, roles...)
	}
	have := strings.Join(c.Roles, ", ")
	if have == "" {
		have = "no role"
	}
	return command.Refuse(command.CodePermissionRole, what, strings.Join(roles, " or "), c.Name, have)
}
