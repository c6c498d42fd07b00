package procedure_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
)

// kindsOfOtherNames are the kinds of commands whose procedures have other names.
var kindsOfOtherNames = map[string]string{
	"enable_worker_agent": "enable_worker", "disable_worker_agent": "enable_worker",
	"set_worker_agent_property": "set_worker_property", "delete_worker_agent": "delete_worker",
}

// neverRefused are codes of functions that a transition calls for what cannot be refused there: the options of an
// execution were checked when they were set.
var neverRefused = map[string][]string{
	"start_execution": {command.CodeParameterSealed, command.CodeParameterType},
}

// What a procedure says that it can be refused with is what the transition of its command, and all that the transition
// calls, has codes of.
func TestProceduresSayWhatTransitionsRefuse(t *testing.T) {
	c := readCatalog(t)
	for _, p := range procedure.All() {
		t.Run(p.Name, func(t *testing.T) {
			kind := cmp.Or(kindsOfOtherNames[p.Name], p.Name)
			transition, ok := c.transitions[kind]
			if !ok {
				t.Fatalf("the table of kinds has no %s", kind)
			}
			var want []string
			for name := range c.reached(transition) {
				code, ok := c.values[name]
				if !ok {
					t.Fatalf("package command has no %s", name)
				}
				if !slices.Contains(neverRefused[p.Name], code) {
					want = append(want, code)
				}
			}
			slices.Sort(want)
			if got := slices.Sorted(slices.Values(p.Raises)); !slices.Equal(got, want) {
				t.Errorf("it says  %q\nrefuses  %q", got, want)
			}
		})
	}
}

// source is package catalog as its files say it: what each function and variable refers to.
type source struct {
	refers      map[string]map[string]bool // by name, the functions and variables
	codes       map[string]map[string]bool // by name, the constants of codes
	transitions map[string]string          // by the kind's name
	values      map[string]string          // of the constants
}

func readCatalog(t *testing.T) *source {
	t.Helper()
	c := &source{map[string]map[string]bool{}, map[string]map[string]bool{}, map[string]string{}, map[string]string{}}
	for _, file := range parsed(t, "../command/*.go") {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if i < len(spec.Values) {
					if text, ok := spec.Values[i].(*ast.BasicLit); ok && text.Kind == token.STRING {
						c.values[name.Name], _ = strconv.Unquote(text.Value)
					}
				}
			}
			return true
		})
	}
	for _, file := range parsed(t, "../catalog/*.go") {
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				c.read(d.Name.Name, d.Body)
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if spec, ok := s.(*ast.ValueSpec); ok && d.Tok == token.VAR {
						for i, name := range spec.Names {
							if i < len(spec.Values) {
								c.read(name.Name, spec.Values[i])
							}
						}
					}
				}
			}
		}
	}
	return c
}

func parsed(t *testing.T, pattern string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func (c *source) read(name string, body ast.Node) {
	refers, codes := c.refers[name], c.codes[name]
	if refers == nil { // methods of several types have one name here: what one refuses, all are said to
		refers, codes = map[string]bool{}, map[string]bool{}
		c.refers[name], c.codes[name] = refers, codes
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "command" && strings.HasPrefix(n.Sel.Name, "Code") {
				codes[n.Sel.Name] = true
			}
			ast.Inspect(n.X, func(n ast.Node) bool { c.note(refers, n); return true })
			return false
		case *ast.CallExpr:
			if method, ok := n.Fun.(*ast.SelectorExpr); ok {
				if x, ok := method.X.(*ast.Ident); !ok || x.Obj != nil { // else it is a function of another package
					refers[method.Sel.Name] = true
				}
			}
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "declareWhole" || f.Name == "declareItems") && len(n.Args) > 3 {
				if kind, ok := n.Args[1].(*ast.BasicLit); ok {
					transition := n.Args[3]
					if of, ok := transition.(*ast.IndexExpr); ok {
						transition = of.X
					}
					if f, ok := transition.(*ast.Ident); ok {
						name, _ := strconv.Unquote(kind.Value)
						c.transitions[name] = f.Name
					}
				}
			}
		}
		c.note(refers, n)
		return true
	})
}

// note takes a reference to something of the package: a name that is no variable, parameter or field of a function.
func (c *source) note(refers map[string]bool, n ast.Node) {
	id, ok := n.(*ast.Ident)
	if !ok {
		return
	}
	if id.Obj != nil {
		switch id.Obj.Decl.(type) {
		case *ast.AssignStmt, *ast.Field:
			return
		}
	}
	refers[id.Name] = true
}

// reached are the codes of a function and of all that it refers to.
func (c *source) reached(name string) map[string]bool {
	seen, all := map[string]bool{}, map[string]bool{}
	var walk func(string)
	walk = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		maps.Copy(all, c.codes[name])
		for other := range c.refers[name] {
			walk(other)
		}
	}
	walk(name)
	return all
}
