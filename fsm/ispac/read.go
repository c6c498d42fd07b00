package ispac

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Read reads a project file of the given size: manifest and Project.params for
// their facts, every other part for its checksum.
//
// Sensitive values are decrypted with opt.Password. Values that cannot be read
// (no password, or saved under a Windows user's key) count as not set and are
// named in Project.Warnings. ErrWrongPassword, ErrPasswordRequired (a project
// that is encrypted as a whole) and ErrUserKey say what a password must do.
func Read(r io.ReaderAt, size int64, opt Options) (*Project, error) {
	a, err := openArchive(r, size, opt)
	if err != nil {
		return nil, err
	}
	rd := &reader{project: &Project{}}
	if opt.Password != "" {
		if rd.key, err = newProjectKey(opt.Password); err != nil {
			return nil, badPart(manifestPart, "decryption is not available: "+err.Error())
		}
	}
	if err := rd.readManifest(a); err != nil {
		return nil, err
	}
	if err := rd.readParams(a); err != nil {
		return nil, err
	}
	if err := rd.readContentTypes(a); err != nil {
		return nil, err
	}
	if err := rd.matchParts(a); err != nil {
		return nil, err
	}
	rd.dropDoubles()
	if err := rd.project.check(); err != nil {
		return nil, err
	}
	for _, p := range a.parts {
		if reservedPart(p.name) { // parsed, so inflated and checked, above
			continue
		}
		if err := a.verify(p); err != nil {
			return nil, err
		}
	}
	rd.warn()
	return rd.project, nil
}

// reader is one run of Read.
type reader struct {
	project  *Project
	key      *projectKey
	own      []Parameter // the project's connection-manager parameters
	metadata map[string]Package

	needPassword, needUser, odd []string  // what could not be read, for warnings
	other                       []Warning // further warnings
}

func (rd *reader) open(a *archive, p part, root string) (element, error) {
	data, err := a.read(p)
	if err != nil {
		return element{}, err
	}
	e, err := openDocument(p.name, data, rd.key)
	if err != nil {
		return element{}, err
	}
	if e.name() != root {
		return element{}, e.doc.bad("the root element is %s in namespace %s; %s in %s is expected",
			clip(e.start.Name.Local), clip(e.start.Name.Space), clip(root), clip(ssisSpace))
	}
	return e, nil
}

func (rd *reader) readParams(a *archive) error {
	p, ok := a.find(paramsPart)
	if !ok {
		rd.notice(WarnNoPart, paramsPart)
		rd.project.Parameters = rd.own
		return nil
	}
	root, err := rd.open(a, p, "Parameters")
	if err != nil {
		return err
	}
	declared, err := rd.parameters(root, "")
	if err != nil {
		return err
	}
	rd.project.Parameters = append(declared, rd.own...)
	return root.doc.end()
}

// readContentTypes reads the part for soundness only: the names of packages and
// connection managers come from the manifest, whatever types are given here.
func (rd *reader) readContentTypes(a *archive) error {
	p, ok := a.find(contentTypesPart)
	if !ok {
		rd.notice(WarnNoPart, contentTypesPart)
		return nil
	}
	data, err := a.read(p)
	if err != nil {
		return err
	}
	root, err := openDocument(p.name, data, nil)
	if err != nil {
		return err
	}
	for root.doc.depth > 0 {
		if _, err := root.doc.next(); err != nil {
			return err
		}
	}
	return root.doc.end()
}

// matchParts holds the manifest's lists against the zip directory.
func (rd *reader) matchParts(a *archive) error {
	listed := map[string]bool{}
	matchPart := func(name, kind string) error {
		if err := checkPartName(name); err != nil {
			return badPart(manifestPart, fmt.Sprintf("the %s %s: %v", kind, clip(name), err))
		}
		if listed[fold(name)] {
			return badPart(manifestPart, fmt.Sprintf("the %s %s is listed twice", kind, clip(name)))
		}
		listed[fold(name)] = true
		if _, ok := a.find(name); !ok {
			return badPart(name, fmt.Sprintf("the manifest lists this %s, but the file does not have it", kind))
		}
		return nil
	}
	for i := range rd.project.Packages {
		p := &rd.project.Packages[i]
		if err := matchPart(p.Name, "package"); err != nil {
			return err
		}
		meta, ok := rd.metadata[fold(p.Name)]
		if !ok {
			rd.notice(WarnNoMetadata, p.Name)
			p.ProtectionLevel = rd.project.ProtectionLevel
			continue
		}
		meta.Name, meta.EntryPoint = p.Name, p.EntryPoint
		*p = meta
	}
	for key, meta := range rd.metadata {
		if !listed[key] {
			rd.notice(WarnUnlisted, meta.Name)
		}
	}
	slices.SortFunc(rd.other, func(a, b Warning) int { // the map has no order
		return cmp.Or(strings.Compare(a.Code, b.Code), slices.Compare(a.Args, b.Args))
	})
	for _, name := range rd.project.ConnectionManagers {
		if err := matchPart(name, "connection manager"); err != nil {
			return err
		}
	}
	for _, p := range a.parts {
		if !listed[fold(p.name)] && !reservedPart(p.name) {
			rd.project.Files = append(rd.project.Files, p.name) // check refuses what must be listed
		}
	}
	return nil
}

// dropDoubles removes generated parameters that repeat an earlier one exactly:
// the catalog could not tell them apart, and nobody can rename them.
func (rd *reader) dropDoubles() {
	drop := func(params []Parameter, pkg string) []Parameter {
		seen := make(map[string]bool, len(params))
		return slices.DeleteFunc(params, func(p Parameter) bool {
			twice := p.Generated() && seen[p.Name]
			seen[p.Name] = true
			if twice {
				rd.notice(WarnParameterTwice, parameterPlace(pkg, p.Name))
			}
			return twice
		})
	}
	rd.project.Parameters = drop(rd.project.Parameters, "")
	for i := range rd.project.Packages {
		p := &rd.project.Packages[i]
		p.Parameters = drop(p.Parameters, p.Name)
	}
}

func (rd *reader) notice(code string, args ...string) {
	rd.other = append(rd.other, Warning{code, args})
}

func (rd *reader) warn() {
	add := func(code string, names []string) {
		const most = 10
		if len(names) > most {
			names = append(slices.Clone(names[:most]), fmt.Sprintf("+%d", len(names)-most))
		}
		if len(names) > 0 {
			rd.project.Warnings = append(rd.project.Warnings, Warning{code, names})
		}
	}
	add(WarnNoPassword, rd.needPassword)
	add(WarnUserKey, rd.needUser)
	add(WarnUnknownType, rd.odd)
	if rd.key != nil && !rd.key.verified {
		rd.notice(WarnPasswordUnverified)
	}
	const most = 100
	rd.project.Warnings = append(rd.project.Warnings, rd.other[:min(len(rd.other), most)]...)
}
