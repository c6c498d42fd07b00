package runner

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Dtsx is the extension of SSIS packages, Dtsx32 the name under which their 32-bit runtime stands in Config.Runners.
const (
	Dtsx   = ".dtsx"
	Dtsx32 = ".dtsx32"
)

// Errors of this package.
var (
	// ErrNoRunner means that no program for the package is here (any more): the attempt can be handed back.
	ErrNoRunner = errors.New("runner: no program runs this package here")
	// ErrPackage means that this package with these parameters cannot be run, here or elsewhere.
	ErrPackage = errors.New("runner: the package cannot be run as it is")
	// ErrConfig is an error in Config.
	ErrConfig = errors.New("runner: configuration")
)

// Config says which programs run packages.
type Config struct {
	// Runners adds to the built-in table or replaces its entries: an extension (".py") and the command line that the
	// package's path is appended to. An empty command line takes the extension away. ".dtsx" and ".dtsx32" name the
	// 64-bit and 32-bit dtexec; they get a command file instead of a path.
	Runners map[string][]string
	// Environ is the environment that packages inherit; nil means this process's own.
	Environ []string
}

// Set is the programs of this machine.
type Set struct {
	environ  []string
	programs map[string]program
}

// program is a command line with its candidates: the first one that is here counts.
type program struct {
	candidates [][]string
	configured bool
}

// New checks the configuration. What is not installed is not an error: Extensions leaves it out.
func New(cfg Config) (*Set, error) {
	s := &Set{environ: cfg.Environ, programs: builtin(runtime.GOOS)}
	if s.environ == nil {
		s.environ = os.Environ()
	}
	for _, ext := range slices.Sorted(maps.Keys(cfg.Runners)) {
		line := cfg.Runners[ext]
		low := strings.ToLower(ext)
		if len(low) < 2 || low[0] != '.' || strings.ContainsAny(low[1:], `./\ `) || len(low) > 32 {
			return nil, fmt.Errorf("%w: Runners: %q is not an extension; one like \".py\" was expected", ErrConfig, ext)
		}
		if len(line) == 0 {
			delete(s.programs, low)
			continue
		}
		if line[0] == "" {
			return nil, fmt.Errorf("%w: Runners: %s has an empty program; a path or a name on the PATH was expected", ErrConfig, ext)
		}
		s.programs[low] = program{candidates: [][]string{line}, configured: true}
	}
	return s, nil
}

func builtin(goos string) map[string]program {
	some := func(lines ...[]string) program { return program{candidates: lines} }
	m := map[string]program{
		".sh":   some([]string{"bash"}, []string{"sh"}),
		".bash": some([]string{"bash"}),
		".py":   some([]string{"python3"}, []string{"python"}),
		".ps1":  some([]string{"pwsh", "-NoProfile", "-NonInteractive", "-File"}),
		".pl":   some([]string{"perl"}),
		".rb":   some([]string{"ruby"}),
		".js":   some([]string{"node"}),
		".r":    some([]string{"Rscript"}),
	}
	if goos == "windows" {
		m[".ps1"] = some([]string{"pwsh", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File"},
			[]string{"powershell", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File"})
		m[".py"] = some([]string{"python3"}, []string{"python"}, []string{"py", "-3"})
		m[".cmd"] = some([]string{"cmd.exe", "/d", "/c"})
		m[".bat"] = m[".cmd"]
	}
	m[Dtsx] = some(dtexecs(goos, "ProgramFiles")...)
	m[Dtsx32] = some(dtexecs(goos, "ProgramFiles(x86)")...)
	return m
}

// Missing lists, for the log, the configured programs that are not on this machine.
func (s *Set) Missing() []string {
	var missing []string
	for _, ext := range slices.Sorted(maps.Keys(s.programs)) {
		if p := s.programs[ext]; p.configured {
			if _, ok := p.find(); !ok {
				missing = append(missing, ext+": "+p.candidates[0][0])
			}
		}
	}
	return missing
}

// Extensions are those that this machine can run now, sorted.
func (s *Set) Extensions() []string {
	list := []string{}
	for ext, p := range s.programs {
		if _, ok := p.find(); !ok || ext == Dtsx32 && slices.Contains(list, Dtsx) {
			continue
		}
		if ext == Dtsx32 {
			ext = Dtsx
		}
		if !slices.Contains(list, ext) {
			list = append(list, ext)
		}
	}
	slices.Sort(list)
	return list
}

// Bitness are the bit widths that this machine can run packages in. Only dtexec has one; without it every wish is met.
func (s *Set) Bitness() []int {
	_, have64 := s.programs[Dtsx].find()
	_, have32 := s.programs[Dtsx32].find()
	switch {
	case have64 && !have32:
		return []int{64}
	case have32 && !have64:
		return []int{32}
	}
	return []int{64, 32}
}

// find is the program's command line with an absolute path.
func (p program) find() ([]string, bool) {
	for _, line := range p.candidates {
		path, err := exec.LookPath(line[0])
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			continue
		}
		return append([]string{path}, line[1:]...), true
	}
	return nil, false
}

// Extension is the extension by which a package is run.
func Extension(name string) string { return strings.ToLower(filepath.Ext(name)) }
