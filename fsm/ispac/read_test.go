package ispac

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

func replace(old, new string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("the fixture has no " + old)
		}
		return strings.Replace(s, old, new, 1)
	}
}

func utf16Text(s string) string {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, append([]uint16{0xFEFF}, utf16.Encode([]rune(s))...))
	return b.String()
}

const bomb = `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>`

func TestReadRefuses(t *testing.T) {
	base := entriesOf(t, writeBytes(t, sample()))
	manifest := func(old, new string) func() []entry {
		return func() []entry { return edit(base, manifestPart, replace(old, new)) }
	}
	params := func(old, new string) func() []entry {
		return func() []entry { return edit(base, paramsPart, replace(old, new)) }
	}
	plus := func(names ...string) func() []entry {
		return func() []entry {
			out := slices.Clone(base)
			for _, n := range names {
				out = append(out, entry{n, "x"})
			}
			return out
		}
	}
	cases := map[string]struct {
		entries func() []entry
		part    string
		words   string
	}{
		"no manifest":            {func() []entry { return without(base, manifestPart) }, manifestPart, "missing"},
		"two manifests":          {plus(manifestPart), manifestPart, "twice"},
		"two manifests by case":  {plus("@project.MANIFEST"), "@project.MANIFEST", "case"},
		"listed package missing": {func() []entry { return without(base, "load.sh") }, "load.sh", "package"},
		"listed connection missing": {func() []entry { return without(base, "my%20db.conmgr") }, "my db.conmgr",
			"connection manager"},
		"unlisted package":         {plus("extra.DTSX"), "extra.DTSX", "does not list"},
		"unlisted connection":      {plus("extra.conmgr"), "extra.conmgr", "does not list"},
		"parent folder":            {plus("../x"), "../x", "folder"},
		"escaped parent folder":    {plus("%2e%2e%2fx"), "%2e%2e%2fx", "folder"},
		"just parent":              {plus("%2e%2E"), "%2e%2E", "folder"},
		"absolute":                 {plus("/etc/passwd"), "/etc/passwd", "folder"},
		"backslash":                {plus(`..\x`), `..\x`, "folder"},
		"drive":                    {plus("C:x"), "C:x", "Windows"},
		"folder entry":             {plus("lib/"), "lib/", "folder"},
		"device":                   {plus("nul.txt"), "nul.txt", "device"},
		"device with digit":        {plus("COM¹.csv"), "COM¹.csv", "device"},
		"NUL in name":              {plus("a%00b"), "a%00b", "contains"},
		"not UTF-8 after unescape": {plus("a%FF"), "a%FF", "UTF-8"},
		"broken escape":            {plus("100%.csv"), "100%.csv", "%25"},
		"cut escape":               {plus("a%2"), "a%2", "escape"},
		"trailing dot":             {plus("a."), "a.", "dot"},
		"long name":                {plus(strings.Repeat("n", 256)), strings.Repeat("n", 256), "255"},
		"twice after unescape":     {plus("%6Coad.sh"), "load.sh", "twice"},
		"twice after case fold":    {plus("ſ.csv", "S.csv"), "ſ.csv", "case"},

		"manifest empty": {func() []entry { return edit(base, manifestPart, func(string) string { return "" }) },
			manifestPart, "ends"},
		"manifest cut": {func() []entry {
			return edit(base, manifestPart, func(s string) string { return s[:len(s)/2] })
		}, manifestPart, "line"},
		"manifest in UTF-16": {func() []entry { return edit(base, manifestPart, utf16Text) }, manifestPart, "UTF-8"},
		"UTF-16 without BOM": {func() []entry {
			return edit(base, manifestPart, func(s string) string { return utf16Text(s)[2:] })
		}, manifestPart, "UTF-8"},
		"params in UTF-16": {func() []entry { return edit(base, paramsPart, utf16Text) }, paramsPart, "UTF-8"},
		"content types in UTF-16": {func() []entry { return edit(base, contentTypesPart, utf16Text) }, contentTypesPart,
			"UTF-8"},
		"declared encoding": {params(`version="1.0"`, `version="1.0" encoding="windows-1252"`), paramsPart,
			"windows-1252"},
		"invalid UTF-8":       {manifest("Sample", "Sam\xffple"), manifestPart, "line 4"},
		"DOCTYPE in manifest": {manifest("<SSIS:Project ", bomb+"<SSIS:Project "), manifestPart, "document type"},
		"DOCTYPE in params":   {params("<SSIS:Parameters", bomb+"<SSIS:Parameters"), paramsPart, "document type"},
		"DOCTYPE in types": {func() []entry { return edit(base, contentTypesPart, replace("<Types", bomb+"<Types")) },
			contentTypesPart, "document type"},
		"DOCTYPE at the end": {func() []entry {
			return edit(base, manifestPart, func(s string) string { return s + bomb })
		}, manifestPart, "document type"},
		"unknown entity": {manifest("Sample", "&b;"), manifestPart, "entity"},
		"second root": {func() []entry {
			return edit(base, manifestPart, func(s string) string { return s + "<x/>" })
		}, manifestPart, "second root"},
		"deep nesting": {manifest("<SSIS:Packages>", strings.Repeat("<a>", 100)+strings.Repeat("</a>", 100)+
			"<SSIS:Packages>"), manifestPart, "nested"},
		"other namespace": {manifest(ssisSpace, "urn:x"), manifestPart, "namespace"},
		"other root": {func() []entry {
			return edit(base, paramsPart, func(string) string { return "<html/>" })
		}, paramsPart, "html"},

		"no protection level": {manifest(`SSIS:ProtectionLevel="DontSaveSensitive"`, ""), manifestPart,
			"ProtectionLevel"},
		"unknown protection level": {manifest("DontSaveSensitive", "Secret"), manifestPart, "Secret"},
		"package's level":          {manifest(`"ProtectionLevel">1<`, `"ProtectionLevel">6<`), manifestPart, "0 to 5"},
		"version no number":        {manifest(`"VersionMajor">1<`, `"VersionMajor">one<`), manifestPart, "VersionMajor"},
		"version too large": {manifest(`"VersionMajor">1<`, `"VersionMajor">2147483648<`), manifestPart,
			"VersionMajor"},
		"ID no GUID":           {manifest("{88606485", "{8860648g"), manifestPart, "GUID"},
		"entry point":          {manifest(`EntryPoint="1"`, `EntryPoint="2"`), manifestPart, "EntryPoint"},
		"package without name": {manifest(`<SSIS:Package SSIS:Name="load.sh"`, `<SSIS:Package`), manifestPart, "Name"},
		"package listed twice": {manifest(`<SSIS:Package SSIS:Name="load.sh"`,
			`<SSIS:Package SSIS:Name="LOAD.sh"/><SSIS:Package SSIS:Name="load.sh"`), manifestPart, "twice"},
		"package with path": {manifest(`<SSIS:Package SSIS:Name="load.sh"`, `<SSIS:Package SSIS:Name="a/load.sh"`),
			manifestPart, "folder"},
		"package is params": {manifest(`<SSIS:Package SSIS:Name="load.sh"`,
			`<SSIS:Package SSIS:Name="Project.params"`), manifestPart, "format"},
		"metadata twice": {manifest(`PackageMetaData SSIS:Name="load.sh"`,
			`PackageMetaData SSIS:Name="load Ünïcode 100%.dtsx"`), manifestPart, "twice"},
		"property twice":        {manifest(`SSIS:Name="VersionMinor"`, `SSIS:Name="VersionMajor"`), manifestPart, "twice"},
		"element in a property": {manifest(">Sample<", "><b/><"), manifestPart, "text only"},
		"text between elements": {manifest("<SSIS:Packages>", "<SSIS:Packages>loose"), manifestPart, "text in"},

		"project without name":    {manifest(">Sample<", "><"), manifestPart, "no name"},
		"project name too long":   {manifest(">Sample<", ">"+strings.Repeat("😀", 65)+"<"), manifestPart, "130"},
		"project name with @":     {manifest(">Sample<", ">@Sample<"), manifestPart, "@"},
		"project name with blank": {manifest(">Sample<", ">Sample <"), manifestPart, "blank"},
		"project name with quote": {manifest(">Sample<", ">Sam&quot;ple<"), manifestPart, "contains"},
		"parameter name":          {params(`SSIS:Name="Day"`, `SSIS:Name="1Day"`), paramsPart, "1Day"},
		"parameter name too long": {params(`SSIS:Name="Day"`, `SSIS:Name="`+strings.Repeat("d", 129)+`"`),
			paramsPart, "129"},
		"parameter without type":   {manifest(`"DataType">9<`, `"DataType"><`), manifestPart, "data type"},
		"parameter of type object": {manifest(`"DataType">9<`, `"DataType">1<`), manifestPart, "P4"},
		"value of another type":    {manifest(">-2147483648<", ">-2147483649<"), manifestPart, "-2147483649"},
		"variable twice":           {manifest(`SSIS:Name="P3"`, `SSIS:Name="p1"`), manifestPart, "PARAM_P1"},
		"variable of generated": {manifest(`SSIS:Name="Secret"`, `SSIS:Name="cm__LocalDb__A_B_ConnectionString"`),
			manifestPart, "CM.(LocalDb)"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := zipOf(t, c.entries())
			_, err := readBytes(file, Options{})
			wantError(t, err, ErrFormat, c.part, c.words)
		})
	}
}

func TestReadAccepts(t *testing.T) {
	base := entriesOf(t, writeBytes(t, sample()))
	reversed := slices.Clone(base)
	slices.Reverse(reversed)
	bom := func(s string) string { return "\xEF\xBB\xBF" + s }
	cases := map[string]struct {
		entries []entry
		warning string
		check   func(p *Project) bool
	}{
		"any order":         {entries: reversed},
		"names not escaped": {entries: append(without(base, "my%20db.conmgr"), entry{"my db.conmgr", "x"})},
		"names in other case": {entries: append(without(base, "load.sh"), entry{"LOAD.sh", "x"}),
			check: func(p *Project) bool { return p.Packages[1].Name == "load.sh" }},
		"byte order marks": {entries: edit(edit(base, manifestPart, bom), paramsPart, bom)},
		"XML declaration": {entries: edit(base, manifestPart, func(s string) string {
			return `<?xml version="1.0" encoding="UTF-8"?>` + s + "\n<!-- end -->\n"
		})},
		"other namespaces": {entries: edit(base, manifestPart,
			replace("<SSIS:Packages>", `<x xmlns="urn:x"><SSIS:Packages SSIS:IV="1"/></x><SSIS:Packages>`))},
		"comment in a text": {entries: edit(base, manifestPart, replace(">Sample<", ">Sample<!-- not text --><")),
			check: func(p *Project) bool { return p.Name == "Sample" }},
		"blank in front": {entries: append(slices.Clone(base), entry{"%20a.bin", "x"}), check: func(p *Project) bool {
			return p.Files[0] == " a.bin"
		}},
		"text of a hard blank": {entries: edit(base, manifestPart, replace("a sample&#xA;of two lines", "\u00A0")),
			check: func(p *Project) bool { return p.Description == "\u00A0" }},
		"no params":        {entries: without(base, paramsPart), warning: "no_part [Project.params]"},
		"no content types": {entries: without(base, contentTypesPart), warning: "no_part [[Content_Types].xml]"},
		"data beside": {entries: append(slices.Clone(base), entry{"a%20b.bin", "x"}), check: func(p *Project) bool {
			return slices.Contains(p.Files, "a b.bin")
		}},
		"metadata of nothing": {entries: edit(base, manifestPart, replace(`PackageMetaData SSIS:Name="load.sh"`,
			`PackageMetaData SSIS:Name="gone.sh"`)), warning: `unlisted [gone.sh]`},
		"package without": {entries: edit(base, manifestPart, replace(`PackageMetaData SSIS:Name="load.sh"`,
			`PackageMetaData SSIS:Name="gone.sh"`)), warning: `no_metadata [load.sh]`},
		"generated odd type": {entries: edit(base, manifestPart, replace(`<SSIS:Property SSIS:Name="DataType">18<`,
			`<SSIS:Property SSIS:Name="DataType">1<`)), warning: "CM.db.ServerName", check: func(p *Project) bool {
			return len(p.Parameters) == 1
		}},
		"generated odd value": {entries: edit(base, manifestPart, replace(`<SSIS:Property SSIS:Name="DataType">18<`,
			`<SSIS:Property SSIS:Name="DataType">9<`)), check: func(p *Project) bool { return !p.Parameters[1].HasValue }},
		"empty value of Int16": {entries: edit(base, manifestPart, replace(">-32768<", ">\r\n   <")),
			check: func(p *Project) bool { return !p.Packages[0].Parameters[3].HasValue }},
		"unused password given": {entries: base, warning: "password_unverified"},
		"levels without value": {entries: edit(base, manifestPart,
			replace("DontSaveSensitive", "EncryptSensitiveWithUserKey"))},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			opt := Options{}
			if strings.Contains(c.warning, "password") {
				opt.Password = "x"
			}
			p, err := readBytes(zipOf(t, c.entries), opt)
			if err != nil {
				t.Fatal(err)
			}
			if c.check != nil && !c.check(p) {
				t.Errorf("read as %+v", p)
			}
			if all := fmt.Sprint(p.Warnings); !strings.Contains(all, c.warning) {
				t.Errorf("%q is not in the warnings %q", c.warning, all)
			}
		})
	}
}

func TestGeneratedParametersMayShareAVariable(t *testing.T) {
	p := sample()
	p.Parameters = append(p.Parameters,
		Parameter{Name: "CM.a b.X", Type: Int32}, Parameter{Name: "CM.a-b.X", Type: Int32, HasValue: true, Value: int64(1)},
		Parameter{Name: "CM.a b.X", Type: Int32, HasValue: true, Value: int64(2)})
	back, err := readBytes(writeBytes(t, p), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Parameters) != 4 || back.Parameters[2].HasValue {
		t.Errorf("an exact double must be dropped and nothing else: %+v", back.Parameters)
	}
	if len(back.Warnings) != 1 || !strings.Contains(fmt.Sprint(back.Warnings), `{parameter_twice [$Project::CM.a b.X]}`) {
		t.Errorf("warnings %q", back.Warnings)
	}
}

func TestReadDamaged(t *testing.T) {
	file := writeBytes(t, sample())
	for n := 0; n < len(file); n += 7 {
		if _, err := readBytes(file[:n], Options{}); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(file), err)
		}
	}
	// One byte spoilt inside the compressed data of a part names that part.
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.File {
		at, err := f.DataOffset()
		if err != nil {
			t.Fatal(err)
		}
		spoilt := bytes.Clone(file)
		spoilt[at+int64(f.CompressedSize64)/2] ^= 0x55
		name, _ := unescapeName(f.Name)
		_, err = readBytes(spoilt, Options{})
		wantError(t, err, ErrFormat, name, "damaged")
	}
	for _, junk := range []string{"", "PK", "not a zip", strings.Repeat("\x00", 1000)} {
		_, err := readBytes([]byte(junk), Options{})
		wantError(t, err, ErrFormat, "", "zip")
	}
	_, err = Read(bytes.NewReader(nil), -1, Options{})
	wantError(t, err, ErrFormat, "")
}

// Any single byte spoilt in directory or headers may be refused or not, but
// never panics and always names its kind.
func TestReadSpoiltAnywhere(t *testing.T) {
	file := writeBytes(t, sample())
	for i := range file {
		if i%5 > 0 && i < len(file)-22 { // all of the end record, some of the rest
			continue
		}
		spoilt := bytes.Clone(file)
		spoilt[i] ^= 0xFF
		if _, err := readBytes(spoilt, Options{}); err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

type brokenAt struct {
	r   io.ReaderAt
	off int64
	err error
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.off && off <= b.off {
		return 0, b.err
	}
	return b.r.ReadAt(p, off)
}

func TestReadPassesErrorsOn(t *testing.T) {
	file := writeBytes(t, sample())
	broken := errors.New("the disk is broken")
	for _, off := range []int64{10, 75, int64(len(file)) - 10} {
		_, err := Read(brokenAt{bytes.NewReader(file), off, broken}, int64(len(file)), Options{})
		if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
			t.Errorf("a disk broken at %d: %v", off, err)
		}
	}
}

func TestExtract(t *testing.T) {
	file := writeBytes(t, sample())
	var names []string
	err := Extract(bytes.NewReader(file), int64(len(file)), Options{}, func(name string, size int64, r io.Reader) error {
		names = append(names, name)
		if name == "data.csv" {
			return nil // skipped
		}
		data, err := io.ReadAll(r)
		if int64(len(data)) != size {
			t.Errorf("%s has %d bytes, not %d", name, len(data), size)
		}
		if ext(name) == ".sh" && string(data) != "body of "+name {
			t.Errorf("%s is %q", name, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{manifestPart, "LICENSE", "Load Ünïcode 100%.dtsx", paramsPart, "data.csv", "lib.sh", "load.sh",
		"my db.conmgr"}
	if !slices.Equal(names, want) {
		t.Errorf("visited %q, not %q", names, want)
	}

	stop := errors.New("no space left")
	err = Extract(bytes.NewReader(file), int64(len(file)), Options{}, func(string, int64, io.Reader) error { return stop })
	wantError(t, err, stop, manifestPart)

	r, _ := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	at, _ := r.File[1].DataOffset()
	spoilt := bytes.Clone(file)
	spoilt[at+3] ^= 0x55
	err = Extract(bytes.NewReader(spoilt), int64(len(spoilt)), Options{}, func(_ string, size int64, r io.Reader) error {
		_, _ = io.ReadFull(r, make([]byte, size)) // a visitor that ignores errors and the end
		return nil
	})
	wantError(t, err, ErrFormat, "load.sh", "damaged")

	escaping := zipOf(t, append(entriesOf(t, file), entry{"..%5cx", "x"}))
	err = Extract(bytes.NewReader(escaping), int64(len(escaping)), Options{}, func(string, int64, io.Reader) error {
		t.Error("nothing may be visited of a file with an escaping name")
		return nil
	})
	wantError(t, err, ErrFormat, "..%5cx")
	empty := zipOf(t, nil)
	wantError(t, Extract(bytes.NewReader(empty), int64(len(empty)), Options{}, nil), ErrFormat, manifestPart)
}
