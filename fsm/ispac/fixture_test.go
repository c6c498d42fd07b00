package ispac

import (
	"archive/zip"
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// entry is one entry of a project file made for a test; name is as in the zip.
type entry struct{ name, data string }

func zipOf(t testing.TB, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.Create(e.name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.name, "/") {
			continue // a folder has no data
		}
		if _, err := io.WriteString(f, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entriesOf takes a project file apart, for tests that spoil one entry.
func entriesOf(t testing.TB, file []byte) []entry {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var out []entry
	for _, f := range r.File {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, entry{f.Name, string(data)})
	}
	return out
}

func edit(entries []entry, name string, change func(string) string) []entry {
	out := slices.Clone(entries)
	for i := range out {
		if out[i].name == name {
			out[i].data = change(out[i].data)
		}
	}
	return out
}

func without(entries []entry, name string) []entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.name == name })
}

func readBytes(file []byte, opt Options) (*Project, error) {
	return Read(bytes.NewReader(file), int64(len(file)), opt)
}

func writeBytes(t testing.TB, p *Project) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, p, bodyOf); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func bodyOf(part string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("body of " + part)), nil
}

// sample is a project with one of everything.
func sample() *Project {
	var params []Parameter
	for i, v := range []any{true, int64(-128), uint64(255), int64(-32768), int64(-2147483648), uint64(4294967295),
		int64(-9223372036854775808), uint64(18446744073709551615), 1.5, -2.25e300, "-79228162514264337593543950335",
		time.Date(2017, 5, 30, 8, 14, 0, 1234500, time.UTC), "Äpfel & <Birnen>\r\n"} {
		params = append(params, Parameter{Name: fmt.Sprintf("P%d", i), Type: DataTypes()[i], HasValue: true, Value: v})
	}
	return &Project{
		ID: "88606485-CEA0-433B-80B0-FC06E7A4201C", Name: "Sample", Description: "a sample\nof two lines",
		VersionMajor: 1, VersionMinor: 2, VersionBuild: 3, VersionComments: " ", FormatVersion: 1,
		CreationDate: "2017-05-27T12:34:19.5923739+01:00", CreatorName: `DS130\ML`, CreatorComputerName: "DS130",
		Packages: []Package{
			{Name: "Load Ünïcode 100%.dtsx", EntryPoint: true, ID: "101288E7-FFDC-406D-B7A0-530E2C44276E",
				VersionGUID: "967C8596-B182-419E-9F38-93506B61F3FB", Description: "loads", VersionComments: "v",
				VersionMajor: 1, VersionMinor: 4, VersionBuild: 9, FormatVersion: 8, ProtectionLevel: EncryptSensitiveWithUserKey,
				Parameters: params},
			{Name: "load.sh", FormatVersion: 8, Parameters: []Parameter{
				{Name: "Secret", Type: String, Sensitive: true, Required: true},
				{Name: `CM.(LocalDb)\A.B.ConnectionString`, Type: String, HasValue: true, Value: ""},
			}},
		},
		Parameters: []Parameter{
			{ID: "FAF7F237-C48E-44CB-9D4E-366F81599D61", Name: "Day", Type: DateTime, Required: true, Description: "the day"},
			{Name: "CM.db.ServerName", Type: String, HasValue: true, Value: "\n"},
		},
		ConnectionManagers: []string{"my db.conmgr"},
		Files:              []string{"LICENSE", "data.csv", "lib.sh"},
	}
}

// seal makes what SSIS makes of an element of the given name under a password.
func seal(t testing.TB, password, name, attrs, inner string) string {
	t.Helper()
	key, err := newProjectKey(password)
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("\xEF\xBB\xBF" + `<SSIS:` + name + ` ` + attrs + ` SSIS:Sensitive="1" xmlns:SSIS="` + ssisSpace +
		`">` + inner + `</SSIS:` + name + `>`)
	pad := des.BlockSize - len(plain)%des.BlockSize
	plain = append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...)
	iv := []byte("12345678")
	cipher.NewCBCEncrypter(key.block, iv).CryptBlocks(plain, plain)
	return fmt.Sprintf(`<SSIS:%s %s xmlns:SSIS="%s" SSIS:Sensitive="1" SSIS:Salt="AAAAAAAAAA==" SSIS:IV="%s">%s</SSIS:%s>`,
		name, attrs, ssisSpace, base64.StdEncoding.EncodeToString(iv), base64.StdEncoding.EncodeToString(plain), name)
}

// wantError checks an error's kind, and that it names the part.
func wantError(t *testing.T, err, kind error, part string, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v is not %v", err, kind)
	}
	var pe *PartError
	if !errors.As(err, &pe) {
		t.Fatalf("%T is no PartError: %v", err, err)
	}
	if pe.Part != part {
		t.Errorf("the error names the part %q, not %q: %v", pe.Part, part, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in the error: %v", w, err)
		}
	}
}
