package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
)

// maxPackages is far more than a project file can hold.
const maxPackages = 100_000

// declared is a parameter as the project declares it.
type declared struct {
	objectType          int
	name, dataType      string
	required, sensitive bool
}

func (d declared) String() string {
	text := d.name + " (" + d.dataType
	if d.required {
		text += ", required"
	}
	if d.sensitive {
		text += ", sensitive"
	}
	return text + ")"
}

// scopes are how people name the parameters of an object type.
var scopes = map[int]struct{ flag, noun string }{
	catalog.ObjectProject:   {"--project-param", "project parameter"},
	catalog.ObjectPackage:   {"--param", "package parameter"},
	catalog.ObjectExecution: {"--option", "server option"},
}

// check compares the order with what the project declares before anything is created, so that a typo leaves no
// execution behind. It returns the declared data types; its error names everything that is wrong.
func (o *order) check(ctx context.Context, c *client.Client) (map[string]string, error) {
	list, err := o.declared(ctx, c)
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	for _, d := range list {
		types[d.key()] = d.dataType
	}
	var wrong []error
	given := map[string]bool{}
	for i := range o.values {
		v := &o.values[i]
		given[v.key()] = true
		if err := o.checkValue(ctx, list, v); err != nil {
			wrong = append(wrong, err)
		}
	}
	for _, d := range list {
		if !d.required || given[d.key()] {
			continue
		}
		v := assignment{objectType: d.objectType, name: d.name, from: asked}
		if d.sensitive && o.read.interactive && len(wrong) == 0 {
			if err := o.checkValue(ctx, list, &v); err != nil {
				return nil, err
			}
			o.values = append(o.values, v)
		} else {
			from := "VALUE"
			if d.sensitive {
				from = "@FILE"
			}
			wrong = append(wrong, fmt.Errorf("the %s %s has no value: %s %s=%s", scopes[d.objectType].noun, d,
				scopes[d.objectType].flag, d.name, from))
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(append([]error{errors.New("nothing was created")}, wrong...)...)
	}
	return types, nil
}

func (d declared) key() string { return parameterKey(d.objectType, d.name) }

// declared reads the parameters of the project and of the package.
func (o *order) declared(ctx context.Context, c *client.Client) ([]declared, error) {
	id, err := projectID(ctx, c, o.folder, o.project)
	if err != nil {
		return nil, err
	}
	packages, err := collect(ctx, c, "packages", client.Query{Equal: map[string]any{"project_id": id}, PageSize: 1000},
		maxPackages)
	if err != nil {
		return nil, err
	}
	var found bool
	var names []string // of the packages that can be executed
	for _, p := range packages {
		found = found || sqltype.EqualText(p.Text("name"), o.pkg)
		if p.Bool("entry_point") {
			names = append(names, p.Text("name"))
		}
	}
	if !found {
		return nil, refused(command.Refuse(command.CodePackageNotFound, o.project, o.pkg, names), "")
	}
	var list []declared
	for r, err := range c.Rows(ctx, "object_parameters",
		client.Query{Equal: map[string]any{"project_id": id}, PageSize: 1000}) {
		if err != nil {
			return nil, err
		}
		kind, _ := r.Int("object_type")
		if kind == catalog.ObjectProject || kind == catalog.ObjectPackage && sqltype.EqualText(r.Text("object_name"), o.pkg) {
			list = append(list, declared{int(kind), r.Text("parameter_name"), r.Text("data_type"), r.Bool("required"),
				r.Bool("sensitive")})
		}
	}
	return list, nil
}

// checkValue checks one value, and asks for it first when it has to be asked for.
func (o *order) checkValue(ctx context.Context, list []declared, v *assignment) error {
	scope := scopes[v.objectType]
	at := slices.IndexFunc(list, func(d declared) bool { return d.key() == v.key() })
	if at < 0 && v.objectType != catalog.ObjectExecution {
		return o.unknown(list, *v)
	}
	if v.from == asked {
		what := scope.noun + " " + v.name
		if at >= 0 {
			what = scope.noun + " " + list[at].String()
		}
		text, err := o.read.question(ctx, what, scope.flag+" "+v.name)
		if err != nil {
			return err
		}
		v.text = text
	}
	if v.objectType == catalog.ObjectExecution {
		if no := procedure.CheckOption(v.name, parameterValue("", v.text)); no != nil {
			return fmt.Errorf("%s: %w", scope.flag, refused(no, ""))
		}
		return nil
	}
	d := list[at]
	stored, no := procedure.ParameterValue(d.name, d.dataType, d.sensitive, parameterValue(d.dataType, v.text))
	if no != nil {
		return fmt.Errorf("%s: %w", scope.flag, refused(no, ""))
	}
	if d.sensitive && v.from == plain && v.text != "" && o.note != nil {
		o.note("%s is sensitive, and other users of this machine can see command lines: use %s %s=@FILE, =- for standard "+
			"input, or %s %s alone to be asked",
			d.name, scope.flag, d.name, scope.flag, d.name)
	}
	if d.dataType == "DateTime" && hasOffset(v.text) && o.note != nil {
		if d.sensitive {
			stored.Text = "the same instant"
		}
		o.note("%s is stored as %s, in UTC: a DateTime has no offset", d.name, stored.Text)
	}
	return nil
}

// unknown is the error of a parameter that is not declared.
func (o *order) unknown(list []declared, v assignment) error {
	scope := scopes[v.objectType]
	kind, object := "project", o.project
	if v.objectType == catalog.ObjectPackage {
		kind, object = "package", o.pkg
	}
	var names []string
	hint := ""
	for _, d := range list {
		if d.objectType == v.objectType {
			names = append(names, d.name)
		} else if sqltype.EqualText(d.name, v.name) {
			hint = fmt.Sprintf("; %s is a %s: use %s", d.name, scopes[d.objectType].noun, scopes[d.objectType].flag)
		}
	}
	if hint != "" {
		names = nil // the hint stands instead of them
	}
	no := command.Refuse(command.CodeParameterNotFound, kind, object, v.name, names)
	return fmt.Errorf("%s: %w", scope.flag, refused(no, hint))
}

// hasOffset reports whether a time says how far from UTC it is.
func hasOffset(text string) bool {
	text = strings.TrimSpace(text)
	if strings.HasSuffix(text, "Z") {
		return true
	}
	return len(text) > 10 && strings.ContainsAny(text[10:], "+-")
}
