package ispac

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func FuzzRead(f *testing.F) {
	f.Add(writeBytes(f, sample()), "")
	f.Add(zipOf(f, sealedEntries(f, EncryptSensitiveWithPassword, "p")), "p")
	f.Add(zipOf(f, sealedEntries(f, EncryptAllWithPassword, "p")), "p")
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "ispac", "*.ispac"))
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data, samplePassword)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte, password string) {
		opt := Options{Password: password, MaxUncompressed: 16 << 20, MaxManifest: 1 << 20}
		p, err := readBytes(file, opt)
		checkFuzzed(t, p, err)
		if err == nil {
			err := Extract(bytes.NewReader(file), int64(len(file)), opt, func(_ string, _ int64, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if err != nil {
				t.Fatalf("a file that was read cannot be unpacked: %v", err)
			}
		}
	})
}

// FuzzManifest spends no effort on breaking zip directories.
func FuzzManifest(f *testing.F) {
	for _, entries := range [][]entry{entriesOf(f, writeBytes(f, sample())),
		sealedEntries(f, EncryptSensitiveWithPassword, "p")} {
		var manifest, params string
		for _, e := range entries {
			switch e.name {
			case manifestPart:
				manifest = e.data
			case paramsPart:
				params = e.data
			}
		}
		f.Add(manifest, params)
	}
	f.Fuzz(func(t *testing.T, manifest, params string) {
		entries := []entry{{"a.dtsx", ""}, {manifestPart, manifest}, {paramsPart, params}}
		p, err := readBytes(zipOf(t, entries), Options{Password: "p", MaxRatio: 1 << 20})
		checkFuzzed(t, p, err)
	})
}

func checkFuzzed(t *testing.T, p *Project, err error) {
	t.Helper()
	if err != nil {
		var pe *PartError
		if p != nil || !errors.As(err, &pe) {
			t.Fatalf("%T %v beside %v", err, err, p)
		}
		return
	}
	// What was read can be written, but for what the level forbids, and is the
	// same when read again.
	p.ProtectionLevel = ServerStorage
	var b bytes.Buffer
	if err := Write(&b, p, bodyOf); err != nil {
		t.Fatalf("a project that was read cannot be written: %v", err)
	}
	again, err := readBytes(b.Bytes(), Options{MaxRatio: 1 << 20})
	if err != nil {
		t.Fatalf("a project that was written cannot be read: %v", err)
	}
	p.Warnings, again.Warnings = nil, nil
	if got, want := fmt.Sprintf("%+v", again), fmt.Sprintf("%+v", p); got != want && !reflect.DeepEqual(again, p) {
		t.Fatalf("written and read it differs:\n%s\n%s", got, want)
	}
}

func FuzzParseValue(f *testing.F) {
	for _, typ := range DataTypes() {
		for _, text := range []string{"", "0", "-1", "1.50", "1E+20", "true", "1900-01-01T00:00:00",
			"2017-05-30 08:14:00.1234567+02:00", "79228162514264337593543950335", "Ä"} {
			f.Add(int(typ), text)
		}
	}
	f.Fuzz(func(t *testing.T, typ int, text string) {
		v, err := ParseValue(DataType(typ), text)
		if err != nil {
			return
		}
		canonical, err := FormatValue(DataType(typ), v)
		if err != nil {
			t.Fatalf("%s %q is %#v, which cannot be formatted: %v", DataType(typ), text, v, err)
		}
		back, err := ParseValue(DataType(typ), canonical)
		if err != nil || back != v {
			t.Fatalf("%s %q is %#v, formatted %q, read %#v, %v", DataType(typ), text, v, canonical, back, err)
		}
		if second, _ := FormatValue(DataType(typ), back); second != canonical {
			t.Fatalf("two canonical texts, %q and %q", canonical, second)
		}
	})
}

func FuzzDefinition(f *testing.F) {
	f.Add([]byte(sampleDefinition))
	f.Add([]byte("name: x\npackages: [a.sh]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ParseDefinition(text)
		if err != nil {
			return
		}
		p, err := d.Project(counter(), append(folder, "a.sh"))
		if err != nil {
			return
		}
		_ = Write(io.Discard, p, bodyOf) // texts may have characters that XML cannot carry
	})
}
