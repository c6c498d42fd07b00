package command_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	_ "scaleout/fsm/catalog" // it registers the kinds
	"scaleout/fsm/command"
)

var update = flag.Bool("update", false,
	"append kinds that testdata/golden.txt lacks; existing lines are never rewritten")

func entryOf(t testing.TB, cmd command.Command) command.Entry {
	t.Helper()
	env, err := command.Wrap(cmd)
	if err != nil {
		t.Fatal(err)
	}
	env.Time = 1700000000000000001
	env.Caller = command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}}
	env.Key = command.Key{Text: "k", Chosen: true, Request: []byte{1}}
	return command.Entry{Proposer: 77, First: 3, Commands: []command.Envelope{env}}
}

// What was once in a log must stay readable, and mean the same: every kind has its bytes in a file, for its own level
// and for each level that added a field to it. A new optional field changes no line, it adds one.
func TestGoldenBytes(t *testing.T) {
	name := filepath.Join("testdata", "golden.txt")
	golden := map[string]string{}
	raw, err := os.ReadFile(name)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		at, text, _ := strings.Cut(lines.Text(), " ")
		golden[at] = text
	}
	seen := map[command.Kind]bool{}
	for _, whole := range samples() {
		seen[command.KindOf(whole)] = true
		for level := range levelsOf(whole) {
			cmd := asOf(whole, level)
			entry := entryOf(t, cmd)
			b, err := command.Encode(entry)
			if err != nil {
				t.Fatal(err)
			}
			at := fmt.Sprintf("%s@%d", command.KindOf(cmd), level)
			if golden[at] == "" && *update {
				raw = fmt.Appendf(raw, "%s %x\n", at, b)
				golden[at] = hex.EncodeToString(b)
			}
			if golden[at] != hex.EncodeToString(b) {
				t.Errorf("%s is written as\n%x\nand was\n%s", at, b, golden[at])
			}
			old, _ := hex.DecodeString(golden[at])
			delete(golden, at)
			back, err := command.Decode(old)
			if err != nil {
				t.Errorf("%s: %v", at, err)
				continue
			}
			if !reflect.DeepEqual(back, entry) {
				t.Errorf("%s: the entry is read as %+v", at, back)
			}
			got, err := back.Commands[0].Command()
			if err != nil || !reflect.DeepEqual(got, cmd) {
				t.Errorf("%s is read as %+v, %v", at, got, err)
			}
			if err := back.Commands[0].CheckLevel(level); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		}
	}
	for at := range golden {
		t.Errorf("%s has bytes in the file, and no sample", at)
	}
	for _, spec := range command.Kinds() {
		if !seen[spec.Kind] {
			t.Errorf("%s has no sample", spec.Name)
		}
	}
	if *update {
		if err := os.WriteFile(name, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Samples must set every field, or golden bytes would not hold it.
func TestSamplesSetEveryField(t *testing.T) {
	for _, cmd := range samples() {
		unset(t, command.KindOf(cmd).String(), reflect.ValueOf(cmd).Elem())
	}
}

func unset(t *testing.T, path string, v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), path+"."+v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Struct:
			unset(t, name, f)
		case f.Kind() == reflect.Slice && f.Len() > 0 && f.Index(0).Kind() == reflect.Struct:
			// Elements may leave fields to each other's samples, but not all.
			if f.Index(0).IsZero() {
				t.Errorf("%s is not set in the sample", name)
			}
		case f.IsZero():
			t.Errorf("%s is not set in the sample", name)
		}
	}
}

func TestAFieldMayBeAdded(t *testing.T) {
	type olderFolder struct {
		Name string `cbor:"1,keyasint"`
	}
	old, err := command.Marshal(olderFolder{"Sales"})
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := command.Envelope{Kind: command.KindOf(&command.CreateFolder{}), Body: old}.Command()
	if err != nil {
		t.Fatal(err)
	}
	if got := cmd.(*command.CreateFolder); *got != (command.CreateFolder{Name: "Sales"}) {
		t.Errorf("an older command is read as %+v", got)
	}
	now, _ := command.Marshal(command.CreateFolder{Name: "Sales"})
	if !bytes.Equal(old, now) {
		t.Error("a command that leaves the added field unset is written in another way than before")
	}
	// The other way round the node must stop: it cannot know what the field means.
	type newerFolder struct {
		Name  string `cbor:"1,keyasint"`
		Color string `cbor:"99,keyasint"`
	}
	newer, _ := command.Marshal(newerFolder{"Sales", "red"})
	_, err = command.Envelope{Kind: command.KindOf(&command.CreateFolder{}), Body: newer}.Command()
	if !errors.Is(err, command.ErrUndecodable) {
		t.Errorf("a field of a newer version: %v", err)
	}
}

func TestRefusedBytes(t *testing.T) {
	good, _ := command.Encode(entryOf(t, &command.Noop{}))
	indefinite := []byte{0xbf, 0x01, 0x00, 0xff}
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "cut": good[:len(good)-1], "more behind": append(bytes.Clone(good), 0),
		"indefinite length": indefinite, "a key twice": {0xa2, 0x01, 0x00, 0x01, 0x00},
		"huge array announced": {0xa1, 0x03, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0}, "too large": make([]byte, command.MaxEntry+1),
		"tag": {0xc1, 0xa0},
	} {
		if e, err := command.Decode(b); !errors.Is(err, command.ErrUndecodable) {
			t.Errorf("%s: read as %+v, %v", name, e, err)
		}
	}
	if _, err := (command.Envelope{Kind: 9999}).Command(); !errors.Is(err, command.ErrUnknownKind) ||
		!strings.Contains(err.Error(), "9999") {
		t.Errorf("an unknown kind: %v", err)
	}
}

type alien struct{}

func TestWrapLimits(t *testing.T) {
	if _, err := command.Wrap(&command.CreateFolder{Name: strings.Repeat("x", command.HardCommand)}); !errors.Is(err,
		command.ErrTooLarge) {
		t.Errorf("a command over its limit: %v", err)
	}
	if _, err := command.Wrap(&command.DeployProject{Manifest: make([]byte, command.HardManifest)}); err != nil {
		t.Errorf("a deploy with the largest manifest: %v", err)
	}
	if _, err := command.Wrap(&alien{}); !errors.Is(err, command.ErrUnknownKind) {
		t.Errorf("a type that no kind is registered for: %v", err)
	}
	big := make([]command.Envelope, 7)
	for i := range big {
		big[i].Body = make([]byte, command.HardCommand)
	}
	if _, err := command.Encode(command.Entry{Commands: big}); !errors.Is(err, command.ErrTooLarge) {
		t.Errorf("an entry that no node would read: %v", err)
	}
}

// A name that is not UTF-8 must not bring down every node that applies it.
func TestBadTextDoesNotPoisonTheLog(t *testing.T) {
	b, err := command.Encode(entryOf(t, &command.CreateFolder{Name: "\xff\xfe"}))
	if err != nil {
		t.Fatal(err)
	}
	e, err := command.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if cmd, err := e.Commands[0].Command(); err != nil || cmd.(*command.CreateFolder).Name != "\xff\xfe" {
		t.Errorf("read as %+v, %v", cmd, err)
	}
}

func TestManifest(t *testing.T) {
	m := manifest()
	packed, err := command.PackManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := command.UnpackManifest(packed)
	if err != nil || !reflect.DeepEqual(back, m) {
		t.Fatalf("unpacked as %+v, %v", back, err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "cut": packed[:len(packed)-3],
		"too large": make([]byte, command.HardManifest+1),
	} {
		if _, err := command.UnpackManifest(b); !errors.Is(err, command.ErrUndecodable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// 300 packages with parameters, 5 MB of text that a project file repeats as such files do, must fit.
func TestLargeManifestFits(t *testing.T) {
	m := manifest()
	m.Packages = nil
	size := 0
	for i := range 300 {
		p := command.Package{Name: fmt.Sprintf("Package %d.dtsx", i), EntryPoint: true, GUID: fmt.Sprintf("{%032x}", i*7919)}
		for j := range 60 {
			q := command.Parameter{
				Name: fmt.Sprintf("CM.Connection %d.Property%d", i, j), Type: "String",
				Description: "Sets the property of the connection manager that the package opens when it runs on a server, " +
					fmt.Sprint(i*60+j),
				Default: &command.Value{Type: "String",
					Text: fmt.Sprintf("Data Source=server%d;Initial Catalog=db%d;Provider=SQLNCLI11.1;Integrated Security=SSPI;Auto "+
						"Translate=False;Table=%x", i, j, i*j*2654435761)},
			}
			size += len(q.Name) + len(q.Description) + len(q.Default.Text)
			p.Parameters = append(p.Parameters, q)
		}
		m.Packages = append(m.Packages, p)
	}
	packed, err := command.PackManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of text in %d packages: %d bytes packed", size, len(m.Packages), len(packed))
	if back, err := command.UnpackManifest(packed); err != nil || len(back.Packages) != 300 {
		t.Fatal(len(back.Packages), err)
	}
}

// A bomb: few bytes that unpack to many.
func TestManifestBomb(t *testing.T) {
	m := manifest()
	m.Description = strings.Repeat("a", command.MaxManifestPlain-1<<20)
	packed, err := command.PackManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes hold %d", len(packed), len(m.Description))
	m.Description = strings.Repeat("a", command.MaxManifestPlain)
	if _, err := command.PackManifest(m); !errors.Is(err, command.ErrTooLarge) {
		t.Errorf("a manifest that nobody would unpack: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, cmd := range samples() {
		b, err := command.Encode(entryOf(f, cmd))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := command.Decode(b)
		if err != nil {
			if !errors.Is(err, command.ErrUndecodable) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		for _, env := range e.Commands {
			cmd, err := env.Command()
			if err != nil {
				continue
			}
			again, err := cbor.Marshal(cmd)
			if err != nil {
				t.Fatalf("%T cannot be written again: %v", cmd, err)
			}
			_ = again
		}
		// What one node reads, another writes so that a third reads the same.
		b, err = command.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := command.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if c, _ := command.Encode(again); !bytes.Equal(b, c) {
			t.Fatal("written twice, read twice, and not the same")
		}
	})
}
