package catalog

import (
	"slices"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

func Authorize(what string, p Permission, c command.Caller) error {
	if p.Allows(c) {
		return nil
	}
	if c.Kind != "user" {
		return command.Refuse(command.CodePermissionDenied, "%s is for users; the certificate of %s is a %s's", what, sqltype.Quote(c.Name), c.Kind)
	}
	roles := p.Roles
	if !slices.Contains(roles, command.RoleAdmin) {
		roles = append([]string{command.RoleAdmin}, roles...)
	}
	return command.Refuse(command.CodePermissionDenied, "to %s takes the role %s; %s has %s",
		what, strings.Join(roles, " or "), sqltype.Quote(c.Name), roleList(c.Roles))
}

func roleList(roles []string) string {
	if len(roles) == 0 {
		return "no role"
	}
	return strings.Join(roles, ", ")
}

// Permission says who may call a procedure or read a view: any of the roles (ssis_admin always may). No role means any
// user's certificate.
type Permission struct{ Roles []string }

// Allows reports whether the caller may: a user's certificate, and one of the roles where there are any.
func (p Permission) Allows(c command.Caller) bool {
	if len(p.Roles) == 0 {
		return c.Kind == "user"
	}
	return c.Is(p.Roles...)
}

var Admin = Permission{Roles: []string{command.RoleAdmin}}

var Executor = Permission{Roles: []string{command.RoleExecutor}}

// The permissions of views. Whoever may run packages sees what there is to run; an execution is seen by its creator
// and by those who read logs or monitor.
var (
	AnyUser = Permission{}
	Readers = Permission{Roles: []string{command.RoleExecutor, command.RoleReader, command.RoleMonitor}}
)

// sees reports whether the caller may see the operation of another caller.
func Sees(c command.Caller, owner string) bool {
	return owner == c.Name && c.Kind == "user" || c.Is(command.RoleReader, command.RoleMonitor)
}
