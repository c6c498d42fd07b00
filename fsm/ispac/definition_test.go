package ispac

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const sampleDefinition = `# a project of scripts
name: SampleETL
description: Loads the orders of a day
version: 1.2.3
version_comments: first
parameters:
  - {name: LoadDate, type: DateTime, required: true, description: which day}
  - {name: Environment, default: Staging}
  - {name: Token, sensitive: true, default: null}
packages:
  - extract.sh
  - name: load.py
    entry_point: false
    version: 7
    description: loads
    parameters:
      - {name: Rows, type: int32, default: 1_000}
      - {name: Rate, type: Decimal, default: 0.50}
      - {name: Since, type: DateTime, default: 1900-01-01}
      - {name: Dry, type: Boolean, default: true}
      - {name: Code, default: 007}
connection_managers: [db.conmgr]
files: [lib.sh, "*.csv", "*.sh"]
`

func counter() func() string {
	n := 0
	return func() string {
		n++
		return fmt.Sprintf("00000000-0000-0000-0000-%012d", n)
	}
}

var folder = []string{"b.csv", "extract.sh", "lib.sh", "load.py", "notes.txt", "project.yaml", "a.csv", ".hidden.csv",
	"db.conmgr"}

func TestDefinition(t *testing.T) {
	d, err := ParseDefinition([]byte(strings.Replace(sampleDefinition, "1_000", "1000", 1)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Project(counter(), folder)
	if err != nil {
		t.Fatal(err)
	}
	id := func(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }
	want := &Project{
		ID: id(1), Name: "SampleETL", Description: "Loads the orders of a day", VersionMajor: 1, VersionMinor: 2,
		VersionBuild: 3, VersionComments: "first", FormatVersion: 1,
		Parameters: []Parameter{
			{ID: id(2), Name: "LoadDate", Type: DateTime, Required: true, Description: "which day"},
			{ID: id(3), Name: "Environment", Type: String, HasValue: true, Value: "Staging"},
			{ID: id(4), Name: "Token", Type: String, Sensitive: true},
		},
		Packages: []Package{
			{ID: id(5), VersionGUID: id(6), Name: "extract.sh", EntryPoint: true, VersionMajor: 1, VersionMinor: 2,
				VersionBuild: 3, FormatVersion: 8},
			{ID: id(12), VersionGUID: id(13), Name: "load.py", Description: "loads", VersionMajor: 7, FormatVersion: 8,
				Parameters: []Parameter{
					{ID: id(7), Name: "Rows", Type: Int32, HasValue: true, Value: int64(1000)},
					{ID: id(8), Name: "Rate", Type: Decimal, HasValue: true, Value: "0.5"},
					{ID: id(9), Name: "Since", Type: DateTime, HasValue: true, Value: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)},
					{ID: id(10), Name: "Dry", Type: Boolean, HasValue: true, Value: true},
					{ID: id(11), Name: "Code", Type: String, HasValue: true, Value: "007"},
				}},
		},
		ConnectionManagers: []string{"db.conmgr"},
		Files:              []string{"a.csv", "b.csv", "lib.sh"},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("the project is\n%+v, not\n%+v", p, want)
	}
	back, err := readBytes(writeBytes(t, p), Options{})
	if err != nil || !reflect.DeepEqual(p, back) {
		t.Errorf("packed and read: %v\n%+v", err, back)
	}
}

func TestDefinitionRefuses(t *testing.T) {
	base := strings.Replace(sampleDefinition, "1_000", "1000", 1)
	cases := map[string]struct{ text, part, words string }{
		"empty":               {"", DefinitionFile, "empty"},
		"no YAML":             {"name: [", DefinitionFile, "line 1"},
		"a list":              {"- a", DefinitionFile, "line 1"},
		"two documents":       {base + "---\nname: x\n", DefinitionFile, "more than one"},
		"unknown key":         {base + "owner: me\n", DefinitionFile, `the key "owner" is not known; there are name, id,`},
		"key twice":           {base + "name: x\n", DefinitionFile, "already defined"},
		"key of package":      {strings.Replace(base, "entry_point:", "entrypoint:", 1), DefinitionFile, "entrypoint"},
		"key of parameter":    {strings.Replace(base, "required:", "need:", 1), DefinitionFile, "line 7"},
		"no name":             {strings.Replace(base, "name: SampleETL", "", 1), DefinitionFile, "no name"},
		"name":                {strings.Replace(base, "SampleETL", "'@x'", 1), DefinitionFile, "@"},
		"no packages":         {"name: x", DefinitionFile, "packages"},
		"version":             {strings.Replace(base, "1.2.3", "1.2.3.4", 1), DefinitionFile, "line 4"},
		"version with letter": {strings.Replace(base, "1.2.3", "v1", 1), DefinitionFile, "line 4"},
		"missing package":     {strings.Replace(base, "- extract.sh", "- gone.sh", 1), DefinitionFile, "gone.sh"},
		"package without ext": {strings.Replace(base, "- extract.sh", "- run", 1), DefinitionFile, "extension"},
		"package twice":       {strings.Replace(base, "- extract.sh", "- load.py", 1), DefinitionFile, "load.py"},
		"unlisted dtsx":       {strings.Replace(base, "lib.sh", "x.dtsx", 1), "x.dtsx", "manifest"},
		"missing connection":  {strings.Replace(base, "db.conmgr", "x.conmgr", 1), DefinitionFile, "x.conmgr"},
		"missing file":        {strings.Replace(base, "lib.sh", "lub.sh", 1), DefinitionFile, "lub.sh"},
		"pattern":             {strings.Replace(base, "lib.sh", "'[lib'", 1), DefinitionFile, "[lib"},
		"type":                {strings.Replace(base, "int32", "integer", 1), DefinitionFile, "integer"},
		"default of type":     {strings.Replace(base, "1000", "1e3", 1), DefinitionFile, "line 17"},
		"underscore":          {sampleDefinition, DefinitionFile, "1_000"},
		"default is a list":   {strings.Replace(base, "default: Staging", "default: [1]", 1), DefinitionFile, "single"},
		"sensitive default":   {strings.Replace(base, "default: null", "default: hush", 1), DefinitionFile, "Token"},
		"parameter's name":    {strings.Replace(base, "Environment", "Env-1", 1), DefinitionFile, "Env-1"},
		"same variable": {strings.Replace(base, "Environment", "loaddate", 1), DefinitionFile,
			"PROJECT_PARAM_LOADDATE"},
		"id":        {base + "id: 17\n", DefinitionFile, "17"},
		"too large": {base + strings.Repeat("#", maxDefinition), DefinitionFile, "most"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := ParseDefinition([]byte(c.text))
			if err == nil {
				_, err = d.Project(counter(), append(slices.Clone(folder), "run", "x.dtsx"))
			}
			kind := ErrFormat
			if name == "too large" {
				kind = ErrTooLarge
			}
			wantError(t, err, kind, c.part, c.words)
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestDefinitionIsReusable(t *testing.T) {
	d, err := ParseDefinition([]byte("name: x\npackages: [a.sh]\nid: '{88606485-cea0-433b-80b0-fc06e7a4201c}'\n"))
	if err != nil {
		t.Fatal(err)
	}
	var files [2][]byte
	for i := range files {
		p, err := d.Project(counter(), []string{"a.sh"})
		if err != nil {
			t.Fatal(err)
		}
		if p.VersionMajor != 1 || p.ID != "88606485-CEA0-433B-80B0-FC06E7A4201C" {
			t.Errorf("project %+v", p)
		}
		files[i] = writeBytes(t, p)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same definition packs to different bytes")
	}
}
