package testcluster_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated parts of docs/architecture.md anew")

const architecture = "../docs/architecture.md"

// The generated parts of the document stand between these lines; %s is "picture" or "rooms".
const (
	generatedFrom = "<!-- Generated from the import table (make docs): %s. Do not edit. -->\n"
	generatedTo   = "<!-- End of what is generated. -->\n"
)

// TestArchitecturePictures compares the picture and the table of rooms in docs/architecture.md with the import table
// and with the first sentence of each room's doc.go.
func TestArchitecturePictures(t *testing.T) {
	raw, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	have := string(raw)
	want := replaceGenerated(t, have, "picture", picture())
	want = replaceGenerated(t, want, "rooms", roomTable(t))
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s does not show the rooms as they are; write it anew with 'make docs'", architecture)
	}
	if err := os.WriteFile(architecture, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func replaceGenerated(t *testing.T, document, name, content string) string {
	t.Helper()
	before, rest, ok := strings.Cut(document, fmt.Sprintf(generatedFrom, name))
	_, after, closed := strings.Cut(rest, generatedTo)
	if !ok || !closed {
		t.Fatalf("%s has no place for the generated part %q", architecture, name)
	}
	return before + fmt.Sprintf(generatedFrom, name) + "\n" + content + "\n" + generatedTo + after
}

// assemblers put whole programs together and may import nearly everything: arrows from them would hide the others.
var assemblers = []string{"cmd/master", "cmd/scaleout", "testcluster"}

// picture is the import table as a Mermaid graph. An arrow that follows from others is left out.
func picture() string {
	floors := map[string][]string{}
	for _, room := range slices.Sorted(maps.Keys(mayImport)) {
		if !slices.Contains(assemblers, room) {
			floor, _, _ := strings.Cut(room, "/")
			floors[floor] = append(floors[floor], room)
		}
	}
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart LR\n")
	for _, floor := range slices.Sorted(maps.Keys(floors)) {
		fmt.Fprintf(&b, "  subgraph %s_floor[\"%s/…\"]\n", floor, floor)
		for _, room := range floors[floor] {
			fmt.Fprintf(&b, "    %s[\"%s\"]\n", node(room), room)
		}
		b.WriteString("  end\n")
	}
	for _, floor := range slices.Sorted(maps.Keys(floors)) {
		for _, room := range floors[floor] {
			for _, to := range granted(room) {
				if !reachable(room, to) {
					fmt.Fprintf(&b, "  %s --> %s\n", node(room), node(to))
				}
			}
		}
	}
	b.WriteString("```\n")
	return b.String()
}

func node(room string) string { return strings.ReplaceAll(room, "/", "_") }

// granted lists the rooms that a room may import, patterns resolved.
func granted(room string) []string {
	var list []string
	for _, other := range slices.Sorted(maps.Keys(mayImport)) {
		if other != room && slices.ContainsFunc(mayImport[room], func(p string) bool { return covers(p, other) }) {
			list = append(list, other)
		}
	}
	return list
}

// reachable reports whether a room reaches another one through a third.
func reachable(from, to string) bool {
	seen := map[string]bool{from: true, to: true}
	queue := slices.DeleteFunc(granted(from), func(room string) bool { return room == to })
	for len(queue) > 0 {
		room := queue[0]
		queue = queue[1:]
		if seen[room] {
			continue
		}
		seen[room] = true
		next := granted(room)
		if slices.Contains(next, to) {
			return true
		}
		queue = append(queue, next...)
	}
	return false
}

// roomTable lists every room with the first sentence of its documentation and with what it may import.
func roomTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| room | what it is | may import |\n| --- | --- | --- |\n")
	for _, room := range slices.Sorted(maps.Keys(mayImport)) {
		grants := "nothing"
		if list := mayImport[room]; len(list) > 0 {
			grants = "`" + strings.Join(list, "` `") + "`"
		}
		fmt.Fprintf(&b, "| [`%s`](../%s) | %s | %s |\n", room, room, synopsis(t, room), grants)
	}
	return b.String()
}

var packageIs = regexp.MustCompile(`^(Package|Command) \w+ (is )?`)

// synopsis is the first sentence of a room's documentation, without "Package x is".
func synopsis(t *testing.T, room string) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join("..", room, "*.go"))
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if file.Doc != nil && !strings.HasSuffix(name, "_test.go") {
			text := packageIs.ReplaceAllString(new(doc.Package).Synopsis(file.Doc.Text()), "")
			return strings.ReplaceAll(strings.TrimSuffix(text, "."), "|", `\|`)
		}
	}
	t.Errorf("%s has no package documentation", room)
	return ""
}

// symbol is a name as the document writes it: `fsm/catalog.State.Apply`.
var symbol = regexp.MustCompile("`((?:cmd|cluster|fsm|httpapi|store|testcluster)(?:/\\w+)*)\\.(\\w+)(?:\\.(\\w+))?`")

// TestArchitectureNamesWhatExists looks up every function, method and type that docs/architecture.md names: the walks
// through the code must lead somewhere.
func TestArchitectureNamesWhatExists(t *testing.T) {
	raw, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]map[string]bool{}
	found := symbol.FindAllStringSubmatch(string(raw), -1)
	if len(found) < 20 {
		t.Errorf("only %d names of the code were found in %s: the walks name more", len(found), architecture)
	}
	for _, m := range found {
		room, name := m[1], strings.TrimSuffix(m[2]+"."+m[3], ".")
		if m[2] == "go" {
			if _, err := os.Stat(path.Join("..", room+".go")); err != nil {
				t.Errorf("%s names %s: %v", architecture, m[0], err)
			}
			continue
		}
		if declared[room] == nil {
			declared[room] = declarations(t, room)
		}
		if !declared[room][name] {
			t.Errorf("%s names %s; %s declares no %s", architecture, m[0], room, name)
		}
	}
}

// declarations lists what the files of a room declare at their top: F, T, T.Method and T.Field.
func declarations(t *testing.T, room string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join("..", room, "*.go"))
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[receiver(d)+d.Name.Name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					declare(names, s)
				}
			}
		}
	}
	return names
}

func declare(names map[string]bool, s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, id := range s.Names {
			names[id.Name] = true
		}
	case *ast.TypeSpec:
		names[s.Name.Name] = true
		var members *ast.FieldList
		switch typ := s.Type.(type) {
		case *ast.StructType:
			members = typ.Fields
		case *ast.InterfaceType:
			members = typ.Methods
		default:
			return
		}
		for _, m := range members.List {
			for _, id := range m.Names {
				names[s.Name.Name+"."+id.Name] = true
			}
		}
	}
}

// receiver is the type of a method with a dot behind it, "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	switch generic := typ.(type) {
	case *ast.IndexExpr:
		typ = generic.X
	case *ast.IndexListExpr:
		typ = generic.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}
