package ispac

import (
	"fmt"
	"strconv"
	"strings"
)

// Project is what a project file declares: catalog facts only, never package bodies.
type Project struct {
	ID                         string // upper-case GUID without braces, "" if absent
	Name, Description          string
	ProtectionLevel            ProtectionLevel
	VersionMajor, VersionMinor int
	VersionBuild               int
	VersionComments            string
	FormatVersion              int

	// CreationDate is kept as written; the catalog does not interpret it.
	CreationDate, CreatorName, CreatorComputerName string

	Packages           []Package   // manifest order
	Parameters         []Parameter // Project.params, then the project's connection-manager parameters (CM.)
	ConnectionManagers []string    // part names, manifest order
	Files              []string    // other parts, sorted by name; the manifest does not list them

	// Warnings tell what was accepted but is not as it could be, such as sensitive values that could not be read. Only
	// Read fills them; Write ignores them.
	Warnings []Warning
}

// Warning is one thing that Read noticed. It holds no sentence: the catalog keeps it.
type Warning struct {
	Code string
	Args []string // what the code is about
}

// The codes of warnings, with their arguments. A parameter is written as $Project::Day, or load.sh::Day if it is one of
// a package.
const (
	WarnNoPassword         = "no_password"         // sensitive parameters whose values are not set
	WarnUserKey            = "user_key"            // parameters whose values one Windows user alone can decrypt, not set
	WarnUnknownType        = "unknown_type"        // generated parameters that are left out or not set
	WarnPasswordUnverified = "password_unverified" // nothing is encrypted with the password, so it was not checked
	WarnNoPart             = "no_part"             // the name of a part that is missing
	WarnNoMetadata         = "no_metadata"         // a package of which the manifest has no metadata
	WarnUnlisted           = "unlisted"            // what the manifest has metadata of and does not list
	WarnParameterTwice     = "parameter_twice"     // the parameter
)

// Package is one package of a project.
type Package struct {
	Name            string // plain, with extension, e.g. "Load.dtsx" or "load.sh"
	EntryPoint      bool
	ID, VersionGUID string // upper-case GUIDs without braces, "" if absent

	Description, VersionComments             string
	VersionMajor, VersionMinor, VersionBuild int
	FormatVersion                            int // of the package format: 6 = 2012, 8 = 2016 and later
	ProtectionLevel                          ProtectionLevel
	Parameters                               []Parameter // manifest order, declared and generated ones
}

// Parameter is one typed parameter of a project or a package.
type Parameter struct {
	ID                  string // upper-case GUID without braces, "" if absent
	Name, Description   string
	Type                DataType
	Required, Sensitive bool

	HasValue bool // a value was saved and could be read
	Value    any  // the design default in the form that ParseValue returns; nil if !HasValue
}

const generatedPrefix = "CM."

// Generated reports whether the parameter stands for a property of a
// connection manager ("CM.<connection>.<property>") rather than being declared
// by the project's author.
func (p Parameter) Generated() bool { return strings.HasPrefix(p.Name, generatedPrefix) }

// ProtectionLevel says how a project or package keeps its sensitive values.
// The numbers are the product's.
type ProtectionLevel int

// The protection levels.
const (
	DontSaveSensitive            ProtectionLevel = 0
	EncryptSensitiveWithUserKey  ProtectionLevel = 1
	EncryptSensitiveWithPassword ProtectionLevel = 2
	EncryptAllWithPassword       ProtectionLevel = 3
	EncryptAllWithUserKey        ProtectionLevel = 4
	ServerStorage                ProtectionLevel = 5
)

var protectionWords = [...]string{
	DontSaveSensitive:            "DontSaveSensitive",
	EncryptSensitiveWithUserKey:  "EncryptSensitiveWithUserKey",
	EncryptSensitiveWithPassword: "EncryptSensitiveWithPassword",
	EncryptAllWithPassword:       "EncryptAllWithPassword",
	EncryptAllWithUserKey:        "EncryptAllWithUserKey",
	ServerStorage:                "ServerStorage",
}

// String returns the product's word for the level, or ProtectionLevel(n).
func (l ProtectionLevel) String() string {
	if l < 0 || int(l) >= len(protectionWords) {
		return "ProtectionLevel(" + strconv.Itoa(int(l)) + ")"
	}
	return protectionWords[l]
}

func parseProtectionLevel(word string) (ProtectionLevel, error) {
	for l, w := range protectionWords {
		if w == word {
			return ProtectionLevel(l), nil
		}
	}
	return 0, fmt.Errorf("protection level %s is none of %s", clip(word), strings.Join(protectionWords[:], ", "))
}

// EnvName returns what follows PARAM_ or PROJECT_PARAM_ in the environment
// variable of a parameter: ASCII letters in upper case, digits and '_' kept,
// every other character replaced by '_'.
func EnvName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, name)
}
