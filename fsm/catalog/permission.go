package catalog

import (
	"slices"
	"strings"

	"scaleout/fsm/command"
)

// Can reports whether a principal has a right on an object: by who created it and by the roles in the certificate. The
// reader is that of the state whose grants hold.
//
// An operation is seen by its creator and by those who read logs or monitor; its creator and administrators change it.
// Folders and projects are seen by whoever may run packages or read logs, and changed by administrators. Whoever may
// run packages may run those of every project.
func Can(_ *Reader, c command.Caller, right command.Right, o command.Object) bool {
	if c.Kind != "user" {
		return false
	}
	if o.Type == command.OnOperation && o.ID != 0 && o.Owner == c.Name {
		return true
	}
	roles, everybody := holders(right, o)
	return everybody || c.Is(roles...)
}

var (
	executors  = []string{command.RoleExecutor}
	monitors   = []string{command.RoleMonitor}
	logReaders = []string{command.RoleReader, command.RoleMonitor}
	readers    = []string{command.RoleExecutor, command.RoleReader, command.RoleMonitor}
)

// holders are the roles that give a right on every object of a type, beside ssis_admin, which gives all of them; and on
// some operation, the roles of those who can have created one. What is not named here is for administrators.
func holders(right command.Right, o command.Object) (roles []string, everybody bool) {
	type question struct {
		right command.Right
		on    command.ObjectType
	}
	some := o.ID == 0
	switch (question{right, o.Type}) {
	case question{command.RightRead, command.OnCatalog}:
		return nil, true
	case question{command.RightExecute, command.OnCatalog}, question{command.RightExecute, command.OnProject}:
		return executors, false
	case question{command.RightRead, command.OnCluster}:
		return monitors, false
	case question{command.RightRead, command.OnFolder}, question{command.RightRead, command.OnProject}:
		return readers, false
	case question{command.RightRead, command.OnOperation}:
		if some {
			return readers, false
		}
		return logReaders, false
	case question{command.RightModify, command.OnOperation}:
		if some {
			return executors, false
		}
	}
	return nil, false
}

// May reports whether the caller has one of a permission's rights on some object.
func May(r *Reader, c command.Caller, p command.Permission) bool {
	return slices.ContainsFunc(p, func(n command.Need) bool { return Can(r, c, n.Right, command.Object{Type: n.On}) })
}

// Roles are the roles, any of which gives a permission on every object or on one's own; none: any user has it.
func Roles(p command.Permission) []string {
	var all []string
	for _, n := range p {
		roles, everybody := holders(n.Right, command.Object{Type: n.On})
		if everybody {
			return nil
		}
		for _, role := range roles {
			if !slices.Contains(all, role) {
				all = append(all, role)
			}
		}
	}
	if all == nil {
		return []string{command.RoleAdmin}
	}
	return all
}

// Authorize refuses a caller without the permission for what has the name: a procedure, a view, a route. Its error is a
// *command.Rejection.
func Authorize(r *Reader, c command.Caller, p command.Permission, name string) error {
	if May(r, c, p) {
		return nil
	}
	if c.Kind != "user" {
		return command.Refuse(command.CodePermissionKind, name, c.Name, c.Kind)
	}
	roles := Roles(p)
	if !slices.Contains(roles, command.RoleAdmin) {
		roles = append(roles, command.RoleAdmin)
	}
	if len(c.Roles) == 0 {
		return command.Refuse(command.CodePermissionNoRole, name, c.Name, roles)
	}
	return command.Refuse(command.CodePermissionRole, name, c.Name, strings.Join(c.Roles, ", "), roles)
}

// may refuses a transition whose caller lacks a right on a folder or a project; name is what the object is called.
func (e *edit) may(r *Reader, right command.Right, o command.Object, name string) *command.Rejection {
	if Can(r, e.caller, right, o) {
		return nil
	}
	return command.Refuse(command.CodePermissionObject, e.caller.Name, right, o.Type, name)
}

// mayModify refuses a transition whose caller may not change an execution.
func (e *edit) mayModify(r *Reader, x *Execution) *command.Rejection {
	if Can(r, e.caller, command.RightModify, command.OperationObject(x.ID, x.Caller)) {
		return nil
	}
	return command.Refuse(command.CodePermissionOwner, x.ID, x.Caller, command.RoleAdmin)
}
