package catalog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"scaleout/fsm/command"
)

// The associated data of sealed values names the row and the column that they belong to. A design default and a
// project password belong to the project file, which is known before the deploy has an id; a set value belongs to its
// execution.

// SealNamePassword is the associated data of the password of the project file with that digest.
func SealNamePassword(blob string) string { return "project/" + blob + "/password" }

// SealNameDefault is the associated data of the design default of a sensitive parameter; pkg is "" for a parameter of
// the project.
func SealNameDefault(blob, pkg, parameter string) string {
	return "project/" + blob + "/default/" + strconv.Quote(pkg) + "/" + strconv.Quote(parameter)
}

// SealNameExecutionValue is the associated data of a value set on an execution; name is the declared one.
func SealNameExecutionValue(executionID int64, objectType int, name string) string {
	return fmt.Sprintf("execution/%d/%d/%s", executionID, objectType, strconv.Quote(name))
}

// GrantParameters is what a package gets: the design defaults of its version, overlaid with the values set on the
// execution. params holds every project parameter (object type 20) and package parameter (30) that has a value, in
// the order of the manifest; options every server option (50) that has one; password the project's, if it has one.
// Secrets are still sealed: OpenParameter opens them.
func GrantParameters(v *Version, e *Execution) (params, options []command.GrantParameter, password *command.Sealed) {
	add := func(objectType int, declared []command.Parameter) {
		for i := range declared {
			p := &declared[i]
			value, ok := setValue(e, objectType, p.Name)
			if !ok {
				value = p.Default
			}
			if value != nil {
				params = append(params, command.GrantParameter{ObjectType: objectType, Name: p.Name, Sensitive: p.Sensitive, Value: *value})
			}
		}
	}
	add(ObjectProject, v.Manifest.Parameters)
	if pkg, ok := packageNamed(v, e.Package); ok {
		add(ObjectPackage, pkg.Parameters)
	}
	for i := range serverOptions {
		o := &serverOptions[i]
		if value := o.value(e); value != nil {
			options = append(options, command.GrantParameter{ObjectType: ObjectExecution, Name: o.name, Value: *value})
		}
	}
	return params, options, v.Password
}

// value is the option's value for an execution: the one set, else the initial one, else nil.
func (o *option) value(e *Execution) *command.Value {
	if v, ok := setValue(e, ObjectExecution, o.name); ok {
		return v
	}
	if o.initial == "" {
		return nil
	}
	return &command.Value{Type: o.typ.String(), Text: o.initial}
}

func setValue(e *Execution, objectType int, name string) (*command.Value, bool) {
	for i := range e.Values {
		if e.Values[i].ObjectType == objectType && strings.EqualFold(e.Values[i].Name, name) {
			return &e.Values[i].Value, true
		}
	}
	return nil, false
}

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
func OpenParameter(g *command.Grant, p *command.GrantParameter, open func(*command.Sealed, string) ([]byte, error)) (string, error) {
	if p.Value.Sealed == nil {
		return p.Value.Text, nil
	}
	var failed error
	for _, associated := range AssociatedOf(g, p) {
		text, err := open(p.Value.Sealed, associated)
		if err == nil {
			return string(text), nil
		}
		failed = errors.Join(failed, err)
	}
	return "", fmt.Errorf("open the value of parameter %s of execution %d: %w", p.Name, g.ExecutionID, failed)
}

// OpenPassword returns the project password of a grant, "" if it has none.
func OpenPassword(g *command.Grant, open func(*command.Sealed, string) ([]byte, error)) (string, error) {
	if g.ProjectPassword == nil {
		return "", nil
	}
	text, err := open(g.ProjectPassword, SealNamePassword(g.ProjectBlob))
	if err != nil {
		return "", fmt.Errorf("open the password of the project %s: %w", g.Project, err)
	}
	return string(text), nil
}

// missingValues names the required parameters of an execution that have no value. As in the product, the design
// default of a required parameter is for the designer alone: an execution must be given a value.
func missingValues(v *Version, e *Execution) []string {
	var missing []string
	look := func(objectType int, scope string, declared []command.Parameter) {
		for i := range declared {
			if !declared[i].Required {
				continue
			}
			if _, ok := setValue(e, objectType, declared[i].Name); !ok {
				missing = append(missing, scope+declared[i].Name)
			}
		}
	}
	look(ObjectProject, "project parameter ", v.Manifest.Parameters)
	if pkg, ok := packageNamed(v, e.Package); ok {
		look(ObjectPackage, "package parameter ", pkg.Parameters)
	}
	return missing
}
