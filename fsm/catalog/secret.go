package catalog

import (
	"errors"
	"fmt"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// The associated data of sealed values names the row and the column that they belong to. A design default and a
// project password belong to the project file, which is known before the deploy has an id; a set value belongs to its
// execution.

// SealNamePassword is the associated data of the password of the project file with that digest.
func SealNamePassword(blob string) string { return "project/" + blob + "/password" }

// SealNameDefault is the associated data of the design default of a sensitive parameter; pkg is "" for a parameter of
// the project.
func SealNameDefault(blob, pkg, parameter string) string {
	return "project/" + blob + "/default/" + quote(pkg) + "/" + quote(parameter)
}

// quote marks where a name ends, for ever in the same way: what is sealed by one build must open in every other.
func quote(name string) string { return `"` + quoting.Replace(name) + `"` }

var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// SealNameExecutionValue is the associated data of a value set on an execution; name is the declared one.
func SealNameExecutionValue(executionID int64, objectType int, name string) string {
	return fmt.Sprintf("execution/%d/%d/%s", executionID, objectType, quote(name))
}

// Opener opens what was sealed with the associated data.
type Opener func(s *command.Sealed, associated string) (sqltype.Secret[string], error)

// AssociatedOf is what a parameter of a grant may have been sealed with: as a value set on the execution, else as a
// design default. The parameter does not say which; a wrong one never opens it.
func AssociatedOf(g *command.Grant, p *command.GrantParameter) []string {
	pkg := ""
	if p.ObjectType == ObjectPackage {
		pkg = g.Package
	}
	return []string{
		SealNameExecutionValue(g.ExecutionID, p.ObjectType, p.Name),
		SealNameDefault(g.ProjectBlob, pkg, p.Name),
	}
}

// OpenParameter returns the text of a grant's parameter, opening it if it is sealed.
func OpenParameter(g *command.Grant, p *command.GrantParameter, open Opener) (sqltype.Secret[string], error) {
	if p.Value.Sealed == nil {
		return sqltype.NewSecret(p.Value.Text), nil
	}
	var failed error
	for _, associated := range AssociatedOf(g, p) {
		text, err := open(p.Value.Sealed, associated)
		if err == nil {
			return text, nil
		}
		failed = errors.Join(failed, err)
	}
	return sqltype.Secret[string]{}, fmt.Errorf("open the value of parameter %s of execution %d: %w", p.Name,
		g.ExecutionID, failed)
}

// OpenPassword returns the project password of a grant, the zero Secret if it has none.
func OpenPassword(g *command.Grant, open Opener) (sqltype.Secret[string], error) {
	if g.ProjectPassword == nil {
		return sqltype.Secret[string]{}, nil
	}
	password, err := open(g.ProjectPassword, SealNamePassword(g.ProjectBlob))
	if err != nil {
		return sqltype.Secret[string]{}, fmt.Errorf("open the password of the project %s: %w", g.Project, err)
	}
	return password, nil
}
