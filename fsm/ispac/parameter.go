package ispac

import (
	"errors"
	"strconv"
	"strings"
)

// dpapiPrefix begins every value that Windows encrypted under a user's key.
const dpapiPrefix = "AQAAANCMnd8BFdERjHoAwE/Cl+s"

// parameters reads the Parameter children of e. They are those of a package, or of the project if pkg is "".
func (rd *reader) parameters(e element, pkg string) ([]Parameter, error) {
	var out []Parameter
	err := e.children(func(e element) error {
		if e.name() != "Parameter" {
			return nil
		}
		name, err := e.required("Name")
		if err != nil {
			return err
		}
		raw := rawParameter{Parameter: Parameter{Name: name}, where: parameterPlace(pkg, name)}
		err = e.children(func(e element) error {
			if e.name() != "Properties" {
				return nil
			}
			return eachProperty(e, raw.property)
		})
		if err != nil {
			return err
		}
		p, ok, err := rd.finish(raw, e.doc)
		if ok && err == nil {
			out = append(out, p)
		}
		return err
	})
	return out, err
}

// parameterPlace is a parameter as SSIS writes it, with its package in place of $Package: $Project::Day, load.sh::Day.
func parameterPlace(pkg, name string) string {
	if pkg == "" {
		pkg = "$Project"
	}
	return pkg + "::" + name
}

// rawParameter is a parameter whose value has not met its type yet: the type
// comes last.
type rawParameter struct {
	Parameter
	where    string // parameterPlace
	typeText string
	text     string
	saved    bool // the element Value is there
	locked   error
	flagged  bool // Value itself says that it is sensitive
}

func (r *rawParameter) property(name string, e element) (err error) {
	switch name {
	case "ID":
		return e.guid(&r.ID)
	case "Description":
		return e.into(&r.Description)
	case "Required":
		return e.flag(&r.Required)
	case "Sensitive":
		return e.flag(&r.Sensitive)
	case "DataType":
		return e.into(&r.typeText)
	case "Value":
		r.saved = true
		if flag, _ := e.attr("Sensitive"); flag == "1" || e.sealed() {
			r.flagged = true
		}
		if e.sealed() {
			e, err = e.unseal()
			if errors.Is(err, ErrPasswordRequired) {
				r.locked = err
				return nil
			}
			if err != nil {
				return err
			}
		}
		r.text, err = e.text()
	}
	return err
}

// finish turns a raw parameter into a typed one. ok is false when it is to be
// left out.
func (rd *reader) finish(r rawParameter, d *document) (p Parameter, ok bool, err error) {
	p = r.Parameter
	p.Sensitive = p.Sensitive || r.flagged
	code, err := strconv.Atoi(strings.TrimSpace(r.typeText))
	if p.Type = DataType(code); err != nil || !p.Type.Valid() {
		if p.Generated() {
			rd.odd = append(rd.odd, r.where)
			return p, false, nil
		}
		return p, false, d.bad("%s: the data type %s is not known", clip(r.where), clip(r.typeText))
	}
	switch {
	case r.locked != nil:
		rd.needPassword = append(rd.needPassword, r.where)
		return p, true, nil
	case p.Sensitive && strings.HasPrefix(r.text, dpapiPrefix):
		rd.needUser = append(rd.needUser, r.where)
		return p, true, nil
	case !r.saved, r.flagged && r.text == "":
		return p, true, nil // a sensitive value that was not saved is an empty element
	}
	if p.Type != String {
		if r.text = strings.TrimSpace(r.text); r.text == "" {
			return p, true, nil
		}
	}
	v, err := ParseValue(p.Type, r.text)
	switch {
	case err == nil:
		p.HasValue, p.Value = true, v
	case p.Generated():
		rd.odd = append(rd.odd, r.where)
	case p.Sensitive:
		return p, false, d.bad("%s: its sensitive value is not a valid %s", clip(r.where), p.Type)
	default:
		return p, false, d.bad("%s: %v", clip(r.where), err)
	}
	return p, true, nil
}
