package testcluster_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

const module = "scaleout/"

// mayImport is the import table: which packages of this module (rooms) a package may import. A pattern that ends in
// "/..." stands for the package and all packages below it. An import that is not listed fails the test, and so does an
// unused entry.
var mayImport = map[string][]string{
	"fsm/command":           {},
	"fsm/logkey":            {},
	"fsm/segment":           {},
	"fsm/ispac":             {"fsm/sqltype"}, // for the collation
	"store":                 {"fsm/command", "fsm/logkey", "store/file"},
	"store/file":            {},
	"store/hclog":           {"fsm/logkey"},
	"httpapi/wire":          {"fsm/command", "fsm/sqltype"}, // for the bounds of the state and of names
	"cluster/admission":     {},
	"cluster/transport":     {"cluster/admission", "fsm/logkey", "store/hclog"},
	"cluster/pki":           {"fsm/logkey", "fsm/sqltype", "store/file"},
	"cluster/gossip":        {"cluster/admission", "fsm/logkey"},
	"cluster/leader":        {"fsm/logkey"},
	"cluster/blobs":         {"fsm/command", "fsm/logkey"},
	"cluster/archive":       {"store/file"},
	"cmd/worker/guard":      {"cmd/worker/logger", "fsm/logkey", "store/file"},
	"cmd/worker/logger":     {"fsm/logkey"},
	"cmd/worker/spool":      {"store/file"},
	"cmd/scaleout/settings": {"fsm/registry"}, // for its hint
	"cmd/scaleout/show":     {"fsm/sqltype"},  // for the characters that a terminal may obey
	"cmd/dev/process":       {},
	"fsm/sqltype":           {"fsm/command"}, // for its time type
	"fsm/catalog":           {"fsm/command", "fsm/sqltype"},
	"fsm/registry":          {"fsm/command", "fsm/sqltype"},
	"fsm/view":              {"fsm/catalog", "fsm/command", "fsm/registry", "fsm/segment", "fsm/sqltype"},
	"fsm/procedure":         {"fsm/catalog", "fsm/command", "fsm/registry", "fsm/ispac", "fsm/sqltype"},
	"fsm/fsmtest":           {"fsm/..."},
	"fsm":                   {"fsm/catalog", "fsm/command", "fsm/logkey"},
	"cluster/routine":       {"fsm/catalog", "fsm/command", "fsm/logkey", "fsm/sqltype"},
	"cluster/dispatch":      {"fsm/catalog", "fsm/command", "fsm/logkey", "fsm/sqltype", "fsm/view"},
	"cluster/segmenter":     {"fsm/catalog", "fsm/command", "fsm/logkey", "fsm/segment"},
	"cluster/proposer":      {"fsm/command"},
	"cluster/prover":        {"fsm/command"},
	"cluster/peer":          {"cluster/transport", "fsm/command"},
	"cluster/bootstrap":     {"cluster/gossip", "cluster/peer", "fsm/command", "fsm/logkey", "store"},
	"cluster/announce":      {"cluster", "fsm/catalog", "fsm/command", "fsm/logkey"},
	"cluster/backup": {
		"cluster", "cluster/archive", "cluster/blobs", "cluster/pki", "fsm", "fsm/catalog", "fsm/command", "fsm/logkey",
		"store/file",
	},
	"cluster/recovery": {"fsm", "fsm/catalog", "fsm/command", "store", "store/hclog"},
	"httpapi/client":   {"fsm/logkey", "httpapi/wire"},
	"httpapi/forward":  {"fsm/command", "fsm/logkey", "httpapi/wire"},
	"httpapi": {
		"fsm/command", "fsm/logkey", "fsm/registry", "fsm/sqltype", "httpapi/forward", "httpapi/service", "httpapi/wire",
	},
	"httpapi/service": {
		"fsm/catalog", "fsm/command", "fsm/logkey", "fsm/procedure", "fsm/registry", "fsm/segment", "fsm/sqltype",
		"fsm/view",
	},
	"cmd/worker": {
		"fsm/logkey", "httpapi/client", "httpapi/wire", "cluster/pki", "fsm/ispac", "cmd/worker/...", "store/file",
	},
	"cmd/worker/runner": {"httpapi/wire", "fsm/ispac"},
	"cmd/master/config": {
		"cluster", "cluster/backup", "cluster/gossip", "cluster/pki", "cluster/transport", "fsm/procedure", "httpapi",
		"store",
	},
	"cmd/master/health":  {"cluster", "httpapi/wire"},
	"cmd/master/logtail": {},
	"cmd/master/metrics": {"cluster/pki", "fsm/catalog", "fsm/command"},
	"cmd/master/status":  {"cluster", "cluster/pki", "fsm/catalog", "fsm/command", "fsm/logkey", "httpapi/wire"},
	"cmd/master":         {"cmd/master/...", "cluster/...", "fsm/...", "httpapi/...", "store"},
	"cmd/dev": {"cluster", "cluster/pki", "cmd/dev/process", "fsm/registry", "httpapi/client", "httpapi/wire",
		"store/file"},
	"cmd/service":  {"cmd/dev/process", "cmd/scaleout/settings", "fsm/logkey"},
	"cmd/dev/demo": {"cmd/dev", "fsm/catalog", "httpapi/client"},
	"cmd/scaleout": {"cluster/...", "fsm/...", "httpapi/...", "store", "cmd/..."},
	"testcluster": {"cluster/...", "fsm/...", "httpapi/...", "store", "cmd/dev/process", "cmd/master/...",
		"cmd/worker/..."},
	"cluster": {
		"cluster/bootstrap", "cluster/gossip", "cluster/leader", "cluster/peer", "cluster/proposer", "cluster/prover",
		"cluster/recovery", "cluster/transport", "fsm", "fsm/command", "fsm/logkey", "fsm/sqltype", "store", "store/hclog",
	},
}

type pkg struct {
	ImportPath                string
	Dir                       string
	Imports                   []string
	GoFiles                   []string
	TestGoFiles, XTestGoFiles []string
}

// rooms lists the packages of the module for one operating system.
func rooms(t *testing.T, goos string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,GoFiles,TestGoFiles,XTestGoFiles", module+"...")
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestRoomsImportOnlyWhatThePlanAllows(t *testing.T) {
	used := map[[2]string]bool{} // room and pattern
	for _, goos := range []string{"linux", "windows", "darwin"} {
		for _, p := range rooms(t, goos) {
			room := strings.TrimPrefix(p.ImportPath, module)
			if len(p.GoFiles) == 0 {
				continue
			}
			allowed, planned := mayImport[room]
			if !planned {
				t.Errorf("%s is not in the import table", room)
				continue
			}
			for _, imp := range p.Imports {
				inside, ok := strings.CutPrefix(imp, module)
				if !ok {
					continue
				}
				at := slices.IndexFunc(allowed, func(a string) bool { return covers(a, inside) })
				if at < 0 {
					t.Errorf("%s imports %s (%s); the import table allows %v", room, inside, goos, allowed)
					continue
				}
				used[[2]string{room, allowed[at]}] = true
			}
		}
	}
	for room, allowed := range mayImport {
		for _, pattern := range allowed {
			if !used[[2]string{room, pattern}] {
				t.Errorf("%s imports nothing of %s; remove that from the import table", room, pattern)
			}
		}
	}
}

func covers(pattern, room string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return room == prefix || strings.HasPrefix(room, prefix+"/")
	}
	return pattern == room
}

// The state machine must not depend on where or when it runs: the same log must make the same state on every node and
// in every year.
func TestStateMachineIsPure(t *testing.T) {
	banned := []string{"os", "net", "math/rand", "math/rand/v2", "crypto/rand", "os/exec", "net/http", "syscall"}
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	// What the Unicode tables of Go decide, another release of Go may decide otherwise: names ask fsm/sqltype.
	ofGo := []string{
		"strings.EqualFold", "unicode.SimpleFold", "unicode.ToLower", "unicode.ToUpper", "unicode.In", "unicode.Is",
		"unicode.IsLetter", "unicode.IsDigit", "unicode.IsPrint",
	}
	// Where transitions run, nothing of Go's own says what a blank, a letter or a printable character is.
	applied := []string{"catalog/", "command/", "segment/"}
	ofGoThere := []string{
		"unicode.IsSpace", "strings.TrimSpace", "strings.Fields", "strings.ToLower", "strings.ToUpper", "strconv.Quote",
	}
	mayAskGo := []string{
		"ispac/name.go",       // the identifiers of a project file, which is read once, before its command
		"registry/message.go", // how a sentence is shown
	}
	eachFile(t, "../fsm", func(inside string, files *token.FileSet, file *ast.File) {
		if strings.HasPrefix(inside, "fsmtest/") {
			return // what tests need: no part of the program
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(banned, name) || strings.HasPrefix(name, "net/") {
				t.Errorf("%s imports %s", files.Position(spec.Pos()), name)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			if x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
				t.Errorf("%s reads the clock: time.%s", files.Position(sel.Pos()), sel.Sel.Name)
			}
			name := x.Name + "." + sel.Sel.Name
			there := slices.ContainsFunc(applied, func(room string) bool { return strings.HasPrefix(inside, room) })
			if slices.Contains(ofGo, name) && !slices.Contains(mayAskGo, inside) || there && slices.Contains(ofGoThere, name) {
				t.Errorf("%s: %s depends on the release of Go; ask fsm/sqltype", files.Position(sel.Pos()), name)
			}
			return true
		})
	})
}

// eachFile parses every Go file below root that is no test; inside is its path from there, with slashes.
func eachFile(t *testing.T, root string, look func(inside string, files *token.FileSet, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		inside, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		look(filepath.ToSlash(inside), files, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whether two names are equal is decided in one place, fsm/sqltype, so that no door takes a name for another one than
// the catalog does: strings.EqualFold minds blanks at the end and follows the Unicode tables of the release of Go.
func TestNamesAreComparedInOnePlace(t *testing.T) {
	mayFold := map[string]int{ // how often, in files whose names are no names of the catalog
		"httpapi/forward/attempt.go": 1, // the name of an HTTP header
		"store/hclog/hclog.go":       1, // the tag of a log line of another library
	}
	found := map[string]int{}
	eachFile(t, "..", func(inside string, files *token.FileSet, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "EqualFold" {
				return true
			}
			if found[inside]++; found[inside] > mayFold[inside] {
				t.Errorf("%s: names are compared by sqltype.EqualText, not by EqualFold", files.Position(sel.Pos()))
			}
			return true
		})
	})
	for path, n := range mayFold {
		if found[path] != n {
			t.Errorf("%s has EqualFold %d times, not %d; correct the list", path, found[path], n)
		}
	}
}

// A file that is too long to keep in mind is split into two.
func TestFilesStayReadable(t *testing.T) {
	const most, widest = 500, 120
	for _, p := range rooms(t, "linux") {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			path := filepath.Join(p.Dir, name)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(raw), "\n")
			if n := len(lines) - 1; n > most {
				t.Errorf("%s has %d lines, more than %d", path, n, most)
			}
			for i, line := range lines {
				// Struct tags and raw strings cannot be broken.
				if n := utf8.RuneCountInString(line); n > widest && !strings.Contains(line, "`") {
					t.Errorf("%s:%d has %d characters, more than %d", path, i+1, n, widest)
				}
			}
		}
	}
}
