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

// Dtsx is the extension of SSIS packages. Dtsx32 is the key of their 32-bit runtime in Config.Runners.
const (
	Dtsx   = ".dtsx"
	Dtsx32 = ".dtsx32"
)

// Errors of this package.
var (
	// ErrNoRunner means that this machine has no program for the package (any more). Another worker may have one.
	ErrNoRunner = errors.New("runner: no program runs this package here")
	// ErrPackage means that no machine can run this package with these parameters.
	ErrPackage = errors.New("runner: the package cannot be run as it is")
	// ErrConfig is an error in Config.
	ErrConfig = errors.New("runner: configuration")
)

// Config says which programs run packages.
type Config struct {
	// Runners adds entries to the built-in table or replaces them. A key is an extension (".py"), a value is the command
	// line to which the package's path is appended. An empty command line removes the extension. ".dtsx" and ".dtsx32"
	// are the 64-bit and the 32-bit dtexec, which get a command file instead of a path.
	Runners map[string][]string
	// Environ is the environment that packages inherit; nil means this process's own.
	Environ []string
}

// Set is the table of the programs that can run packages.
type Set struct {
	environ  []string
	programs map[string]program
}

// program is a list of command lines. The first one whose program exists is used.
type program struct {
	candidates [][]string
	configured bool
}

// New checks the configuration. A program that is not installed is no error: Extensions does not list its extension.
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
			return nil, fmt.Errorf("%w: Runners: %s has an empty program; a path or a name on the PATH was expected",
				ErrConfig, ext)
		}
		s.programs[low] = program{candidates: [][]string{line}, configured: true}
	}
	return s, nil
}

func builtin(goos string) map[string]program {
	candidates := func(lines ...[]string) program { return program{candidates: lines} }
	m := map[string]program{
		".sh":   candidates([]string{"bash"}, []string{"sh"}),
		".bash": candidates([]string{"bash"}),
		".py":   candidates([]string{"python3"}, []string{"python"}),
		".ps1":  candidates([]string{"pwsh", "-NoProfile", "-NonInteractive", "-File"}),
		".pl":   candidates([]string{"perl"}),
		".rb":   candidates([]string{"ruby"}),
		".js":   candidates([]string{"node"}),
		".r":    candidates([]string{"Rscript"}),
	}
	if goos == "windows" {
		m[".ps1"] = candidates([]string{"pwsh", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File"},
			[]string{"powershell", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File"})
		m[".py"] = candidates([]string{"python3"}, []string{"python"}, []string{"py", "-3"})
		m[".cmd"] = candidates([]string{"cmd.exe", "/d", "/c"})
		m[".bat"] = m[".cmd"]
	}
	m[Dtsx] = candidates(dtexecs(goos, "ProgramFiles")...)
	m[Dtsx32] = candidates(dtexecs(goos, "ProgramFiles(x86)")...)
	return m
}

// Missing lists the configured programs that this machine does not have, for the log.
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

// Extensions returns the extensions that this machine can run now, sorted.
func (s *Set) Extensions() []string {
	extensions := []string{}
	for ext, p := range s.programs {
		if _, ok := p.find(); !ok || ext == Dtsx32 && slices.Contains(extensions, Dtsx) {
			continue
		}
		if ext == Dtsx32 {
			ext = Dtsx
		}
		if !slices.Contains(extensions, ext) {
			extensions = append(extensions, ext)
		}
	}
	slices.Sort(extensions)
	return extensions
}

// Bitness returns the bit widths in which this machine can run packages. Only dtexec depends on it, so a machine
// without dtexec offers both.
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

// find returns the program's command line with an absolute path.
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

// Extension returns the extension that decides which program runs a package.
func Extension(name string) string { return strings.ToLower(filepath.Ext(name)) }
