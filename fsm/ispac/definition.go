package ispac

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DefinitionFile is the name of the file that makes a folder a project.
const DefinitionFile = "project.yaml"

// maxDefinition bounds project.yaml; hand-written ones have a few KiB.
const maxDefinition = 4 << 20

// Definition is a project.yaml: what a folder of packages does not say itself.
//
//	name: SampleETL
//	description: Loads the orders of a day
//	version: 1.2.0
//	parameters:
//	  - {name: LoadDate, type: DateTime, required: true}
//	packages:
//	  - name: extract.sh
//	    parameters:
//	      - {name: Rows, type: Int32, default: 1000}
//	  - {name: helper.py, entry_point: false}
//	files: [lib.sh, "*.csv"]
type Definition struct {
	Name               string                `yaml:"name"`
	ID                 string                `yaml:"id"` // GUID; a new one for each pack if empty
	Description        string                `yaml:"description"`
	Version            Version               `yaml:"version"` // default 1.0.0
	VersionComments    string                `yaml:"version_comments"`
	Parameters         []ParameterDefinition `yaml:"parameters"`
	Packages           []PackageDefinition   `yaml:"packages"`
	ConnectionManagers []string              `yaml:"connection_managers"` // .conmgr files
	Files              []string              `yaml:"files"`               // other files to take along: names, or patterns of path.Match that find no hidden file unless they begin with a dot
}

// PackageDefinition is one package; in YAML its name alone is enough.
type PackageDefinition struct {
	Name            string                `yaml:"name"`
	EntryPoint      *bool                 `yaml:"entry_point"` // default true
	Description     string                `yaml:"description"`
	Version         Version               `yaml:"version"` // default: the project's
	VersionComments string                `yaml:"version_comments"`
	Parameters      []ParameterDefinition `yaml:"parameters"`
}

// ParameterDefinition is one declared parameter.
type ParameterDefinition struct {
	Name        string    `yaml:"name"`
	Type        string    `yaml:"type"` // name of a data type; default String
	Required    bool      `yaml:"required"`
	Sensitive   bool      `yaml:"sensitive"` // excludes a default: it would stand in the file for all to read
	Default     yaml.Node `yaml:"default"`   // a scalar in the form that ParseValue reads
	Description string    `yaml:"description"`
}

// Version is major.minor.build; missing numbers are 0.
type Version struct {
	Set                 bool
	Major, Minor, Build int
}

// UnmarshalYAML reads 1, 1.2 or 1.2.3.
func (v *Version) UnmarshalYAML(n *yaml.Node) error {
	bad := fmt.Errorf("line %d: the version is %s; use major.minor.build, such as 1.0.3", n.Line, clip(n.Value))
	numbers := strings.Split(n.Value, ".")
	if n.Kind != yaml.ScalarNode || len(numbers) > 3 {
		return bad
	}
	*v = Version{Set: true}
	for i, to := range []*int{&v.Major, &v.Minor, &v.Build}[:len(numbers)] {
		d, err := strconv.ParseUint(numbers[i], 10, 31)
		if err != nil {
			return bad
		}
		*to = int(d)
	}
	return nil
}

// UnmarshalYAML refuses unknown keys.
func (d *Definition) UnmarshalYAML(n *yaml.Node) error {
	if err := knownKeys(n, "name", "id", "description", "version", "version_comments", "parameters", "packages",
		"connection_managers", "files"); err != nil {
		return err
	}
	type plain Definition
	return n.Decode((*plain)(d))
}

// UnmarshalYAML accepts a package's bare name too.
func (p *PackageDefinition) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*p = PackageDefinition{Name: n.Value}
		return nil
	}
	if err := knownKeys(n, "name", "entry_point", "description", "version", "version_comments", "parameters"); err != nil {
		return err
	}
	type plain PackageDefinition
	return n.Decode((*plain)(p))
}

// UnmarshalYAML refuses unknown keys.
func (p *ParameterDefinition) UnmarshalYAML(n *yaml.Node) error {
	if err := knownKeys(n, "name", "type", "required", "sensitive", "default", "description"); err != nil {
		return err
	}
	type plain ParameterDefinition
	return n.Decode((*plain)(p))
}

func knownKeys(n *yaml.Node, known ...string) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a mapping with the keys %s is expected", n.Line, strings.Join(known, ", "))
	}
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i]; !slices.Contains(known, key.Value) {
			return fmt.Errorf("line %d: the key %s is not known; there are %s", key.Line, clip(key.Value),
				strings.Join(known, ", "))
		}
	}
	return nil
}

func badDefinition(format string, args ...any) *PartError {
	return badPart(DefinitionFile, fmt.Sprintf(format, args...))
}

// ParseDefinition reads a project.yaml. Unknown keys are errors.
func ParseDefinition(text []byte) (*Definition, error) {
	if len(text) > maxDefinition {
		return nil, &PartError{Part: DefinitionFile, Err: ErrTooLarge,
			Detail: fmt.Sprintf("it has %d bytes; %d is the most", len(text), maxDefinition)}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var d Definition
	err := dec.Decode(&d)
	if errors.Is(err, io.EOF) {
		return nil, badDefinition("it is empty; name and packages are needed")
	}
	if err != nil {
		return nil, badDefinition("%s", strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, badDefinition("it has more than one document")
	}
	if err := checkProjectName(d.Name); err != nil {
		return nil, badDefinition("%v", err)
	}
	if len(d.Packages) == 0 {
		return nil, badDefinition("no packages are listed")
	}
	return &d, nil
}

// Project makes the project of a folder that has the given files (plain names).
// It checks that each package is there, and expands the patterns of Files over
// what is not a package. newGUID gives the GUIDs of what has none.
func (d *Definition) Project(newGUID func() string, files []string) (*Project, error) {
	version := d.Version
	if !version.Set {
		version = Version{Set: true, Major: 1}
	}
	p := &Project{
		ID: d.ID, Name: d.Name, Description: d.Description,
		VersionMajor: version.Major, VersionMinor: version.Minor, VersionBuild: version.Build,
		VersionComments: d.VersionComments, FormatVersion: 1,
	}
	var err error
	if p.ID == "" {
		p.ID = newGUID()
	}
	if p.ID, err = parseGUID(p.ID); err != nil {
		return nil, badDefinition("id: %v", err)
	}
	if p.Parameters, err = parameters(d.Parameters, newGUID, "the project"); err != nil {
		return nil, err
	}
	taken := []string{DefinitionFile}
	for _, def := range d.Packages {
		if !slices.Contains(files, def.Name) {
			return nil, badDefinition("the package %s is not in the folder", clip(def.Name))
		}
		if ext(def.Name) == "" {
			return nil, badDefinition("the package %s has no extension; the extension says what runs it", clip(def.Name))
		}
		taken = append(taken, def.Name)
		pkg, err := def.pack(version, newGUID)
		if err != nil {
			return nil, err
		}
		p.Packages = append(p.Packages, pkg)
	}
	for _, name := range d.ConnectionManagers {
		if !slices.Contains(files, name) {
			return nil, badDefinition("the connection manager %s is not in the folder", clip(name))
		}
		taken = append(taken, name)
		p.ConnectionManagers = append(p.ConnectionManagers, name)
	}
	for _, pattern := range d.Files {
		found := false
		for _, name := range files {
			ok, err := path.Match(pattern, name)
			if err != nil {
				return nil, badDefinition("files: the pattern %s is not valid: a '[' without its ']', or a '\\' at the end",
					clip(pattern))
			}
			if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
				ok = false // as in a shell: "*" must not take along .env
			}
			if ok = ok || pattern == name; !ok {
				continue
			}
			found = true
			if !slices.Contains(taken, name) {
				taken = append(taken, name)
				p.Files = append(p.Files, name)
			}
		}
		if !found {
			return nil, badDefinition("files: nothing in the folder matches %s", clip(pattern))
		}
	}
	slices.Sort(p.Files)
	var pe *PartError
	if err := p.check(); errors.As(err, &pe) && reservedPart(pe.Part) {
		return nil, badDefinition("%s", pe.Detail) // what will stand in the manifest stands here now
	} else if err != nil {
		return nil, err
	}
	return p, nil
}

func (def PackageDefinition) pack(version Version, newGUID func() string) (Package, error) {
	if def.Version.Set {
		version = def.Version
	}
	params, err := parameters(def.Parameters, newGUID, "package "+clip(def.Name))
	if err != nil {
		return Package{}, err
	}
	pkg := Package{
		Name: def.Name, EntryPoint: def.EntryPoint == nil || *def.EntryPoint,
		Description: def.Description, VersionComments: def.VersionComments,
		VersionMajor: version.Major, VersionMinor: version.Minor, VersionBuild: version.Build,
		FormatVersion: 8, Parameters: params,
	}
	for _, id := range []*string{&pkg.ID, &pkg.VersionGUID} {
		if *id, err = parseGUID(newGUID()); err != nil {
			return Package{}, badDefinition("package %s: %v", clip(def.Name), err)
		}
	}
	return pkg, nil
}

func parameters(defs []ParameterDefinition, newGUID func() string, where string) ([]Parameter, error) {
	var out []Parameter
	for _, def := range defs {
		bad := func(n yaml.Node, format string, args ...any) error {
			line := ""
			if n.Line > 0 {
				line = fmt.Sprintf("line %d: ", n.Line)
			}
			return badDefinition("%s%s: parameter %s: %s", line, where, clip(def.Name), fmt.Sprintf(format, args...))
		}
		if err := checkParameterName(def.Name); err != nil {
			return nil, badDefinition("%s: %v", where, err)
		}
		p := Parameter{Name: def.Name, Description: def.Description, Type: String, Required: def.Required,
			Sensitive: def.Sensitive}
		var err error
		if p.ID, err = parseGUID(newGUID()); err != nil {
			return nil, bad(def.Default, "%v", err)
		}
		if def.Type != "" {
			if p.Type, err = ParseDataType(def.Type); err != nil {
				return nil, bad(def.Default, "%v", err)
			}
		}
		switch n := def.Default; {
		case n.Kind == 0, n.Tag == "!!null":
		case n.Kind != yaml.ScalarNode:
			return nil, bad(n, "the default is not a single value")
		case def.Sensitive:
			return nil, bad(n, "it is sensitive, and a default would stand in the file for all to read; "+
				"give it with the execution")
		default:
			if p.Value, err = ParseValue(p.Type, n.Value); err != nil {
				return nil, bad(n, "%v", err)
			}
			p.HasValue = true
		}
		out = append(out, p)
	}
	return out, nil
}
