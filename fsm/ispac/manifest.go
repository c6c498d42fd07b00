package ispac

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// dpapiPrefix begins every value that Windows encrypted under a user's key.
const dpapiPrefix = "AQAAANCMnd8BFdERjHoAwE/Cl+s"

const verifierText = "SSIS"

func (rd *reader) readManifest(a *archive) error {
	p, ok := a.find(manifestPart)
	if !ok {
		return badPart(manifestPart, "it is missing; every project file has one")
	}
	root, err := rd.open(a, p, "Project")
	if err != nil {
		return err
	}
	word, ok := root.attr("ProtectionLevel")
	if !ok {
		return root.doc.bad("Project has no attribute ProtectionLevel")
	}
	level, err := parseProtectionLevel(word)
	if err != nil {
		return root.doc.bad("%v", err)
	}
	switch {
	case level == EncryptAllWithUserKey:
		return &PartError{Part: p.name, Err: ErrUserKey,
			Detail: "the project is encrypted for the Windows user who saved it (EncryptAllWithUserKey); save it with a password or without sensitive values"}
	case level == EncryptAllWithPassword && rd.key == nil:
		return &PartError{Part: p.name, Err: ErrPasswordRequired,
			Detail: "the project is encrypted with a password (EncryptAllWithPassword), and none was given"}
	}
	rd.project.ProtectionLevel = level
	rd.metadata = map[string]Package{}
	err = root.children(func(e element) error {
		switch e.name() {
		case "Properties":
			return rd.projectProperties(e)
		case "Packages":
			return e.children(rd.packageEntry)
		case "ConnectionManagers":
			return e.children(func(e element) error {
				name, err := e.required("Name")
				rd.project.ConnectionManagers = append(rd.project.ConnectionManagers, name)
				return err
			})
		case "DeploymentInfo":
			return e.children(rd.deploymentInfo)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return root.doc.end()
}

func (e element) required(name string) (string, error) {
	v, ok := e.attr(name)
	if !ok || v == "" {
		return "", e.doc.bad("%s has no attribute %s", e.start.Name.Local, name)
	}
	return v, nil
}

func (rd *reader) packageEntry(e element) error {
	name, err := e.required("Name")
	if err != nil {
		return err
	}
	p := Package{Name: name, EntryPoint: true}
	if text, ok := e.attr("EntryPoint"); ok {
		if p.EntryPoint, err = parseFlag(text); err != nil {
			return e.doc.bad("EntryPoint of %s: %v", clip(name), err)
		}
	}
	rd.project.Packages = append(rd.project.Packages, p)
	return nil
}

func (rd *reader) deploymentInfo(e element) error {
	switch e.name() {
	case "ProjectConnectionParameters":
		own, err := rd.parameters(e, "project parameter")
		rd.own = append(rd.own, own...)
		return err
	case "PackageInfo":
		return e.children(rd.packageMetadata)
	}
	return nil
}

func (rd *reader) packageMetadata(e element) error {
	name, err := e.required("Name")
	if err != nil {
		return err
	}
	if _, twice := rd.metadata[fold(name)]; twice {
		return e.doc.bad("the metadata of package %s stands there twice", clip(name))
	}
	p := Package{Name: name, ProtectionLevel: rd.project.ProtectionLevel}
	err = e.children(func(e element) error {
		switch e.name() {
		case "Properties":
			return eachProperty(e, func(name string, e element) error { return p.property(name, e) })
		case "Parameters":
			more, err := rd.parameters(e, "package "+clip(p.Name)+" parameter")
			p.Parameters = append(p.Parameters, more...)
			return err
		}
		return nil
	})
	rd.metadata[fold(name)] = p
	return err
}

// eachProperty visits the Property elements of e, each name once.
func eachProperty(e element, visit func(name string, e element) error) error {
	var seen []string
	return e.children(func(e element) error {
		if e.name() != "Property" {
			return nil
		}
		name, err := e.required("Name")
		if err != nil {
			return err
		}
		if slices.Contains(seen, name) {
			return e.doc.bad("the property %s stands there twice", clip(name))
		}
		if len(seen) == 256 {
			return e.doc.bad("an element has more than 256 properties")
		}
		seen = append(seen, name)
		return visit(name, e)
	})
}

func (rd *reader) projectProperties(e element) error {
	p := rd.project
	return eachProperty(e, func(name string, e element) error {
		switch name {
		case "ID":
			return e.guid(&p.ID)
		case "Name":
			return e.into(&p.Name)
		case "Description":
			return e.into(&p.Description)
		case "VersionMajor":
			return e.number(&p.VersionMajor)
		case "VersionMinor":
			return e.number(&p.VersionMinor)
		case "VersionBuild":
			return e.number(&p.VersionBuild)
		case "VersionComments":
			return e.into(&p.VersionComments)
		case "FormatVersion":
			return e.number(&p.FormatVersion)
		case "CreationDate":
			return e.into(&p.CreationDate)
		case "CreatorName":
			return e.into(&p.CreatorName)
		case "CreatorComputerName":
			return e.into(&p.CreatorComputerName)
		case "PasswordVerifier":
			return rd.verifyPassword(e)
		}
		return nil
	})
}

// verifyPassword checks the password before any value is decrypted with it. A
// verifier under a user's key tells nothing.
func (rd *reader) verifyPassword(e element) error {
	if rd.key == nil || !e.sealed() {
		return nil
	}
	e, err := e.unseal()
	if err != nil {
		return err
	}
	text, err := e.text()
	if err == nil && text != verifierText {
		return &PartError{Part: e.doc.part, Err: ErrWrongPassword, Detail: "the project password is wrong: its verifier decrypts to something else"}
	}
	return err
}

func (p *Package) property(name string, e element) error {
	switch name {
	case "ID":
		return e.guid(&p.ID)
	case "VersionGUID":
		return e.guid(&p.VersionGUID)
	case "Description":
		return e.into(&p.Description)
	case "VersionComments":
		return e.into(&p.VersionComments)
	case "VersionMajor":
		return e.number(&p.VersionMajor)
	case "VersionMinor":
		return e.number(&p.VersionMinor)
	case "VersionBuild":
		return e.number(&p.VersionBuild)
	case "PackageFormatVersion":
		return e.number(&p.FormatVersion)
	case "ProtectionLevel":
		n := int(p.ProtectionLevel)
		if err := e.number(&n); err != nil {
			return err
		}
		if p.ProtectionLevel = ProtectionLevel(n); n < 0 || n >= len(protectionWords) {
			return e.doc.bad("the protection level %d is not one of 0 to 5", n)
		}
	}
	return nil
}

// parameters reads the Parameter children of e; where is what stands before
// their names in messages.
func (rd *reader) parameters(e element, where string) ([]Parameter, error) {
	var out []Parameter
	err := e.children(func(e element) error {
		if e.name() != "Parameter" {
			return nil
		}
		name, err := e.required("Name")
		if err != nil {
			return err
		}
		raw := rawParameter{Parameter: Parameter{Name: name}, where: where + " " + clip(name)}
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

// rawParameter is a parameter whose value has not met its type yet: the type
// comes last.
type rawParameter struct {
	Parameter
	where    string
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
		return p, false, d.bad("%s: the data type %s is not known", r.where, clip(r.typeText))
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
		return p, false, d.bad("%s: its sensitive value is not a valid %s", r.where, p.Type)
	default:
		return p, false, d.bad("%s: %v", r.where, err)
	}
	return p, true, nil
}

// The readers of single properties. An encrypted property other than a value
// is read like a plain one when there is a password.

func (e element) into(s *string) error {
	e, err := e.opened()
	if err != nil {
		return err
	}
	*s, err = e.text()
	return err
}

func (e element) number(n *int) error {
	var text string
	name, _ := e.attr("Name")
	if err := e.into(&text); err != nil || text == "" {
		return err
	}
	v, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return e.doc.bad("the property %s is %s, not a 32-bit number", clip(name), clip(text))
	}
	*n = int(v)
	return nil
}

func (e element) guid(s *string) error {
	var text string
	name, _ := e.attr("Name")
	err := e.into(&text)
	if text = strings.TrimSpace(text); err != nil || text == "" {
		return err
	}
	if *s, err = parseGUID(text); err != nil {
		return e.doc.bad("the property %s: %v", clip(name), err)
	}
	return nil
}

func (e element) flag(b *bool) error {
	var text string
	name, _ := e.attr("Name")
	if err := e.into(&text); err != nil || text == "" {
		return err
	}
	v, err := parseFlag(strings.TrimSpace(text))
	if *b = v; err != nil {
		return e.doc.bad("the property %s: %v", clip(name), err)
	}
	return nil
}

func parseFlag(text string) (bool, error) {
	switch text {
	case "0", "false", "False":
		return false, nil
	case "1", "true", "True":
		return true, nil
	}
	return false, fmt.Errorf("%s is neither 0 nor 1", clip(text))
}
