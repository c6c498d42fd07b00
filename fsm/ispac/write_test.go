package ispac

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// xmlRunes are the characters that XML can carry.
var xmlRunes = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 9, Hi: 10, Stride: 1}, {Lo: 13, Hi: 13, Stride: 1}, {Lo: 0x20, Hi: 0xD7FF, Stride: 1},
		{Lo: 0xE000, Hi: 0xFFFD, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x10000, Hi: 0x10FFFF, Stride: 1}},
}

func TestSampleComesBack(t *testing.T) {
	p := sample()
	file := writeBytes(t, p)
	back, err := readBytes(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, back) {
		t.Errorf("written\n%+v\nread\n%+v", p, back)
	}
	if !bytes.Equal(file, writeBytes(t, back)) {
		t.Error("the same project gave other bytes")
	}
}

func anyText(t *rapid.T, label string) string {
	return rapid.StringOfN(rapid.OneOf(rapid.RuneFrom([]rune(" \n\r\tab<>&\"']")), rapid.RuneFrom(nil, xmlRunes)), 0, 12,
		-1).Draw(t, label)
}

func anyGUID(t *rapid.T, label string) string {
	return rapid.StringMatching(`([0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12})?`).Draw(t, label)
}

func anyParameters(t *rapid.T, secrets bool) []Parameter {
	var out []Parameter
	declared := rapid.IntRange(0, 4).Draw(t, "declared")
	for i := range declared + rapid.IntRange(0, 4).Draw(t, "generated") {
		p := Parameter{
			ID: anyGUID(t, "parameter ID"), Name: fmt.Sprintf("P_%d", i), Description: anyText(t, "parameter description"),
			Type: rapid.SampledFrom(DataTypes()).Draw(t, "type"), Required: rapid.Bool().Draw(t, "required"),
			Sensitive: rapid.Bool().Draw(t, "sensitive"),
			HasValue:  rapid.Bool().Draw(t, "value"),
		}
		if i >= declared {
			p.Name = fmt.Sprintf("CM.%s.P%d", anyText(t, "connection"), i)
		}
		if p.HasValue = p.HasValue && (secrets || !p.Sensitive); p.HasValue {
			p.Value = anyValue(t, p.Type)
		}
		out = append(out, p)
	}
	return out
}

func TestProjectsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &Project{
			ID: anyGUID(t, "ID"), Name: rapid.StringMatching(`[A-Za-zÄß&'][A-Za-z0-9 Ä&';]{0,20}[a-z]`).Draw(t, "name"),
			Description:  anyText(t, "description"),
			VersionMajor: rapid.IntRange(0, 1<<31-1).Draw(t, "major"), VersionComments: anyText(t, "comments"), FormatVersion: 1,
			CreatorName:     anyText(t, "creator"),
			ProtectionLevel: rapid.SampledFrom([]ProtectionLevel{DontSaveSensitive, ServerStorage}).Draw(t, "level"),
		}
		// A part's name also has to differ by more than case.
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zäß%#&; ']{0,6}[a-z%]`), 0, 8, fold).Draw(t, "names")
		for i, name := range names {
			name = "x" + name
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				p.ConnectionManagers = append(p.ConnectionManagers, name+".conmgr")
			case 1:
				p.Files = append(p.Files, name+rapid.SampledFrom([]string{"", ".csv", ".params"}).Draw(t, "ext"))
			default:
				p.Packages = append(p.Packages, Package{
					Name: name + rapid.SampledFrom([]string{".dtsx", ".SH", ".py"}).Draw(t, "ext"), EntryPoint: i%2 == 0,
					ID:          anyGUID(t, "package ID"),
					VersionGUID: anyGUID(t, "version GUID"), Description: anyText(t, "package description"),
					VersionComments: anyText(t, "package comments"),
					VersionBuild:    i, FormatVersion: 8, ProtectionLevel: ProtectionLevel(i % 6),
					Parameters: anyParameters(t, p.ProtectionLevel == ServerStorage),
				})
			}
		}
		p.Parameters = anyParameters(t, p.ProtectionLevel == ServerStorage)
		slices.Sort(p.Files)
		var b bytes.Buffer
		if err := Write(&b, p, bodyOf); err != nil {
			t.Fatal(err)
		}
		back, err := readBytes(b.Bytes(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p, back) {
			t.Fatalf("written\n%#v\nread\n%#v", p, back)
		}
	})
}

func TestWriteLayout(t *testing.T) {
	file := writeBytes(t, sample())
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
		if f.Flags != 0 || f.Method != zip.Deflate || f.CreatorVersion>>8 != 0 || len(f.Extra) != 0 {
			t.Errorf("%s: flags %x, method %d, system %d, extra %x", f.Name, f.Flags, f.Method, f.CreatorVersion>>8, f.Extra)
		}
	}
	want := []string{"Load%20%C3%9Cn%C3%AFcode%20100%25.dtsx", "load.sh", "my%20db.conmgr", "LICENSE", "data.csv",
		"lib.sh", paramsPart, manifestPart, contentTypesPart}
	if !slices.Equal(names, want) {
		t.Errorf("the entries are %q, not %q", names, want)
	}
	for _, e := range entriesOf(t, file) {
		if bom := strings.HasPrefix(e.data, "\xEF\xBB\xBF"); bom != (e.name == contentTypesPart) {
			t.Errorf("%s: byte order mark %t", e.name, bom)
		}
		if e.name == contentTypesPart {
			for _, part := range []string{`<Default Extension="dtsx" ContentType="text/xml" />`,
				`<Default Extension="sh" ContentType="application/octet-stream" />`,
				`<Override PartName="/LICENSE" ContentType="application/octet-stream" />`,
				`<Default Extension="manifest" ContentType="text/xml" />`} {
				if strings.Count(e.data, part) != 1 {
					t.Errorf("the content types do not have %s once: %s", part, e.data)
				}
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	cases := map[string]struct {
		spoil func(p *Project)
		part  string
		words string
	}{
		"encrypted level": {func(p *Project) { p.ProtectionLevel = EncryptSensitiveWithPassword }, manifestPart,
			"EncryptSensitiveWithPassword"},
		"secret": {func(p *Project) {
			p.Packages[1].Parameters[0].HasValue, p.Packages[1].Parameters[0].Value = true, "hush"
		}, manifestPart, "Secret"},
		"bad secret": {func(p *Project) {
			p.ProtectionLevel = ServerStorage
			q := &p.Packages[1].Parameters[0]
			q.Type, q.HasValue, q.Value = Int32, true, "hush"
		}, manifestPart, "Secret"},
		"value of other type": {func(p *Project) { p.Packages[0].Parameters[3].Value = "7" }, manifestPart, "Int16"},
		"no such type":        {func(p *Project) { p.Packages[0].Parameters[3].Type = 8 }, manifestPart, "P3"},
		"control character":   {func(p *Project) { p.Description = "a\x00b" }, manifestPart, "U+0000"},
		"not UTF-8":           {func(p *Project) { p.Parameters[0].Description = "a\xff" }, paramsPart, "UTF-8"},
		"bad GUID":            {func(p *Project) { p.ID = "17" }, manifestPart, "GUID"},
		"no name":             {func(p *Project) { p.Name = "" }, manifestPart, "name"},
		"same name twice":     {func(p *Project) { p.Files = append(p.Files, "LOAD.SH") }, manifestPart, "LOAD.SH"},
		"reserved name": {func(p *Project) { p.Files = append(p.Files, "project.PARAMS") }, manifestPart,
			"project.PARAMS"},
		"stray package":        {func(p *Project) { p.Files = append(p.Files, "x.dtsx") }, "x.dtsx", "manifest"},
		"path":                 {func(p *Project) { p.Packages[1].Name = "../load.sh" }, "../load.sh", "folder"},
		"connection's name":    {func(p *Project) { p.ConnectionManagers[0] = "db.xml" }, "db.xml", ".conmgr"},
		"package named conmgr": {func(p *Project) { p.Packages[1].Name = "db.conmgr" }, "db.conmgr", "package"},
		"protection number":    {func(p *Project) { p.Packages[1].ProtectionLevel = 6 }, manifestPart, "6"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := sample()
			c.spoil(p)
			err := Write(io.Discard, p, bodyOf)
			wantError(t, err, ErrFormat, c.part, c.words)
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }
func (f failing) Close() error              { return f.err }

func TestWritePassesErrorsOn(t *testing.T) {
	broken := errors.New("the disk is broken")
	err := Write(io.Discard, sample(), func(part string) (io.ReadCloser, error) {
		if part == "lib.sh" {
			return nil, broken
		}
		return bodyOf(part)
	})
	wantError(t, err, broken, "lib.sh", "broken")
	err = Write(io.Discard, sample(), func(part string) (io.ReadCloser, error) {
		if part == "data.csv" {
			return failing{broken}, nil
		}
		return bodyOf(part)
	})
	wantError(t, err, broken, "data.csv")
	if err := Write(failing{broken}, sample(), bodyOf); !errors.Is(err, broken) {
		t.Errorf("writing to a broken disk: %v", err)
	}
}
