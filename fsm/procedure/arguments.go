package procedure

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// arguments is the declaration of a struct of arguments.
type arguments struct {
	parameters []registry.Parameter
	fields     []int // of each parameter
	typ        reflect.Type
}

// The Go types of sensitive arguments.
var (
	secretText    = reflect.TypeFor[sqltype.Secret[string]]()
	secretVariant = reflect.TypeFor[sqltype.Secret[any]]()
)

// argumentsOf reads the tags of A. It panics over a tag that is wrong: declarations are made before anything runs, and
// a test makes all of them.
func argumentsOf[A any]() *arguments {
	a := &arguments{typ: reflect.TypeFor[A]()}
	for i := range a.typ.NumField() {
		f := a.typ.Field(i)
		name, flags, _ := strings.Cut(f.Tag.Get("param"), ",")
		typ, err := sqltype.Parse(f.Tag.Get("type"))
		if err != nil || name == "" {
			panic(fmt.Sprintf("procedure: field %s of %s: name %q: %v", f.Name, a.typ, name, err))
		}
		p := registry.Parameter{Name: name, Type: typ, Doc: f.Tag.Get("doc"), Sensitive: flags == "sensitive"}
		held := f.Type
		if held.Kind() == reflect.Pointer {
			held = held.Elem()
		}
		hidden := held == secretText && typ.IsText() || held == secretVariant && typ == sqltype.Variant
		if p.Sensitive != hidden || !hidden && (held == secretText || held == secretVariant) {
			panic(fmt.Sprintf("procedure: field %s of %s: a %s (sensitive: %t) cannot be a %s", f.Name, a.typ, typ,
				p.Sensitive, f.Type))
		}
		text, given := f.Tag.Lookup("default")
		p.Output = f.Type == reflect.TypeFor[Output]()
		p.Required = !given && !p.Output && f.Type.Kind() != reflect.Pointer
		if given {
			if p.Default, err = sqltype.ParseText(typ, text); err != nil {
				panic(fmt.Sprintf("procedure: default of %s of %s: %v", name, a.typ, err))
			}
		}
		a.parameters, a.fields = append(a.parameters, p), append(a.fields, i)
	}
	return a
}

// set puts a value, which is of the parameter's type, into the field of parameter i.
func (a *arguments) set(into reflect.Value, i int, v any) {
	field := into.Field(a.fields[i])
	if a.parameters[i].Sensitive && v != nil {
		if a.parameters[i].Type.IsText() {
			v = sqltype.NewSecret(v.(string))
		} else {
			v = sqltype.NewSecret(v)
		}
	}
	switch {
	case v == nil:
	case field.Kind() == reflect.Pointer:
		p := reflect.New(field.Type().Elem())
		p.Elem().Set(reflect.ValueOf(v))
		field.Set(p)
	default:
		field.Set(reflect.ValueOf(v))
	}
}

// Bind reads arguments: names in any case and without "@", every value typed by sqltype.Coerce, defaults filled in, and
// NULL for an optional parameter meaning its default. Refusals name the parameter and what would be right; a sensitive
// value is never shown, and comes as a sqltype.Secret. What it returns is for Plan and Waits.
func (p *Procedure) Bind(raw Raw) (any, error) {
	arguments := raw.Reveal()
	given := make(map[string]string, len(arguments)) // parameter → the caller's spelling
	names := make([]string, 0, len(arguments))
	for name := range arguments {
		names = append(names, name)
	}
	slices.Sort(names) // so that the same request gets the same refusal
	values := make(map[string]any, len(p.Parameters))
	for _, name := range names {
		par, ok := p.parameter(name)
		if !ok {
			return nil, command.Refuse(command.CodeUnknownParameter, p.Name, name, p.inputs())
		}
		if first, twice := given[par.Name]; twice {
			return nil, command.Refuse(command.CodeParameterTwice, par.Name, first, name)
		}
		given[par.Name] = name
		v, err := sqltype.Coerce(par.Type, arguments[name])
		switch {
		case err != nil:
			return nil, badArgument(par, err)
		case v == nil: // below
		case par.Output:
			return nil, command.Refuse(command.CodeParameterOutput, par.Name, p.Name)
		default:
			values[par.Name] = v
		}
	}
	args := reflect.New(p.arguments.typ)
	for i := range p.arguments.parameters {
		par := &p.arguments.parameters[i]
		v, ok := values[par.Name]
		switch {
		case par.Output:
			continue
		case ok:
		case !par.Required:
			v = par.Default
		case given[par.Name] != "":
			return nil, command.Refuse(command.CodeParameterNull, given[par.Name], par.Type)
		default:
			return nil, command.Refuse(command.CodeMissingParameter, p.Name, par.Name, par.Type, par.Doc)
		}
		p.arguments.set(args.Elem(), i, v)
	}
	return args.Interface(), nil
}

func badArgument(par *registry.Parameter, err error) error {
	var bad *sqltype.ValueError
	switch {
	case !errors.As(err, &bad):
		return err
	case par.Sensitive:
		return command.Refuse(command.CodeSecretValue, par.Name, bad.Type, bad.Want)
	}
	return command.Refuse(command.CodeInvalidValue, par.Name, bad.Value, bad.Type, bad.Want)
}

func (p *Procedure) parameter(name string) (*registry.Parameter, bool) {
	for i := range p.Parameters {
		if sqltype.EqualText(p.Parameters[i].Name, name) {
			return &p.Parameters[i], true
		}
	}
	return nil, false
}

func (p *Procedure) inputs() []string {
	var names []string
	for _, par := range p.Parameters {
		if !par.Output {
			names = append(names, par.Name)
		}
	}
	return names
}
