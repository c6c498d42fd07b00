package catalog

import (
	"encoding/json"
	"slices"
	"strconv"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// DeclaredParameter finds a parameter of the execution's project (object type 20) or package (30).
func DeclaredParameter(r *Reader, e *Execution, objectType int, name string) (*command.Parameter, *command.Rejection) {
	version, ok := r.Version(e.Version)
	if !ok {
		return nil, command.Refuse(command.CodeVersionGone, e.Version, e.Project)
	}
	scope, object, list := "project", e.Project, version.Manifest.Parameters
	switch objectType {
	case ObjectProject:
	case ObjectPackage:
		scope, object, list = "package", e.Package, nil
		if pkg, ok := PackageNamed(version, e.Package); ok {
			list = pkg.Parameters
		}
	default:
		return nil, command.Refuse(command.CodeObjectType, objectType, ObjectProject, ObjectPackage, ObjectExecution)
	}
	known := make([]string, 0, mostKnown)
	for i := range list {
		if sqltype.EqualText(list[i].Name, name) {
			return &list[i], nil
		}
		if len(known) < mostKnown {
			known = append(known, list[i].Name)
		}
	}
	return nil, command.Refuse(command.CodeParameterNotFound, scope, object, name, known)
}

// mostKnown bounds how many names a refusal offers instead of one that does not exist.
const mostKnown = 20

// GrantParameters is what a package gets: the effective values of its parameters and options. params holds every
// project parameter (object type 20) and package parameter (30) that has a value, in the order of the manifest; set
// every server option (50) that has one; password the project's, if it has one. Secrets are still sealed: OpenParameter
// opens them.
func GrantParameters(v *Version, e *Execution) (params, set []command.GrantParameter, password *command.Sealed) {
	add := func(objectType int, declared []command.Parameter) {
		for i := range declared {
			p := &declared[i]
			if value, _ := EffectiveValue(e, objectType, p); value != nil {
				params = append(params, command.GrantParameter{ObjectType: objectType, Name: p.Name, Sensitive: p.Sensitive,
					Value: *value})
			}
		}
	}
	add(ObjectProject, v.Manifest.Parameters)
	if pkg, ok := PackageNamed(v, e.Package); ok {
		add(ObjectPackage, pkg.Parameters)
	}
	for i := range options {
		o := &options[i]
		if value := o.Value(e); value != nil {
			set = append(set, command.GrantParameter{ObjectType: ObjectExecution, Name: o.Name, Value: *value})
		}
	}
	return params, set, v.Password
}

// ValueOf is a value that was set on an execution.
func ValueOf(e *Execution, objectType int, name string) (*command.Value, bool) {
	for i := range e.Values {
		if e.Values[i].ObjectType == objectType && sqltype.EqualText(e.Values[i].Name, name) {
			return &e.Values[i].Value, true
		}
	}
	return nil, false
}

// EffectiveValue returns the value that a declared parameter has in an execution, nil if it has none, and whether it
// was set on the execution. As in the product, the design default of a required parameter is for the designer alone: an
// execution must be given a value.
func EffectiveValue(e *Execution, objectType int, p *command.Parameter) (value *command.Value, set bool) {
	value, set = ValueOf(e, objectType, p.Name)
	if !set && !p.Required {
		value = p.Default
	}
	return value, set
}

// missingValues names the required parameters of an execution that have no value.
func missingValues(v *Version, e *Execution) []string {
	var missing []string
	look := func(objectType int, scope string, declared []command.Parameter) {
		for i := range declared {
			if value, _ := EffectiveValue(e, objectType, &declared[i]); declared[i].Required && value == nil {
				missing = append(missing, scope+declared[i].Name)
			}
		}
	}
	look(ObjectProject, "$Project::", v.Manifest.Parameters)
	if pkg, ok := PackageNamed(v, e.Package); ok {
		look(ObjectPackage, "$Package::", pkg.Parameters)
	}
	return missing
}

// PackageNamed finds a version's package. The package must not be changed.
func PackageNamed(v *Version, name string) (*command.Package, bool) {
	if at := packageIndex(v, name); at >= 0 {
		return &v.Manifest.Packages[at], true
	}
	return nil, false
}

// packageIndex is the place of a package in its version's lists, -1 if the version has none of that name.
func packageIndex(v *Version, name string) int {
	return slices.IndexFunc(v.Manifest.Packages, func(p command.Package) bool { return sqltype.EqualText(p.Name, name) })
}

// baseTypes are the base types of the values of a data type in a sql_variant: the one that the product's documents
// name, then one for values that do not fit into it, since unsigned numbers go further than int and bigint. Of the
// documented types of a DateTime, datetime2 alone has all its values. The documents are silent about SByte.
var baseTypes = map[string][]sqltype.Type{
	"Boolean": {sqltype.Bit}, "SByte": {sqltype.SmallInt}, "Int16": {sqltype.SmallInt}, "Int32": {sqltype.Int},
	"Int64": {sqltype.BigInt}, "UInt32": {sqltype.Int, sqltype.BigInt},
	"UInt64": {sqltype.BigInt, sqltype.Decimal(20, 0)}, "Single": {sqltype.Real}, "Double": {sqltype.Float},
	"DateTime": {sqltype.DateTime2},
}

// Variant is a stored value as a sql_variant column has it, with the base type of its data type; a sensitive or missing
// one is NULL. It is shown as it is stored.
func Variant(v *command.Value) any {
	if v == nil || v.Sealed != nil {
		return nil
	}
	switch v.Type {
	case "Byte":
		if n, err := strconv.ParseUint(v.Text, 10, 8); err == nil {
			return sqltype.VariantValue{Base: sqltype.Binary(1), Value: []byte{byte(n)}, Shown: json.Number(v.Text)}
		}
	case "Decimal":
		if d := sqltype.VariantOf(sqltype.DecimalValue(v.Text)); d.Base != 0 {
			return d
		}
	}
	for _, base := range baseTypes[v.Type] {
		value, err := sqltype.ParseText(base, v.Text)
		if err != nil {
			continue
		}
		variant := sqltype.VariantValue{Base: base, Value: value}
		switch v.Type {
		case "Single", "Double":
			variant.Shown = json.Number(v.Text)
		case "DateTime":
			variant.Shown = v.Text
		}
		return variant
	}
	return sqltype.VariantOf(v.Text)
}
