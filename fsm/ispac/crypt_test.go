package ispac

import (
	"crypto/cipher"
	"fmt"
	"strings"
	"testing"
)

const dpapiBlob = dpapiPrefix + "BAAAAMb4LoqEXVk6skqY+kRTUwQAAAAACAAAAAAAQZg=="

// sealedEntries is the sample under a password: verifier, a project parameter
// and a package parameter.
func sealedEntries(t testing.TB, level ProtectionLevel, password string) []entry {
	verifier := seal(t, password, "Property", `SSIS:Name="PasswordVerifier"`, verifierText)
	base := entriesOf(t, writeBytes(t, sample()))
	base = edit(base, manifestPart, replace("DontSaveSensitive", level.String()))
	base = edit(base, manifestPart, replace(`<SSIS:Property SSIS:Name="FormatVersion">`,
		verifier+`<SSIS:Property SSIS:Name="FormatVersion">`))
	base = edit(base, manifestPart,
		replace(`<SSIS:Property SSIS:Name="Value" SSIS:Sensitive="1">`+"\r\n              </SSIS:Property>",
			seal(t, password, "Property", `SSIS:Name="Value"`, "p&amp;ss wörd")))
	return edit(base, paramsPart, replace(`<SSIS:Property`+"\r\n        SSIS:Name=\"DataType\">16<",
		seal(t, password, "Property", `SSIS:Name="Value"`, "2017-05-30T08:14:00")+`<SSIS:Property SSIS:Name="DataType">16<`))
}

func TestPasswordOpensValues(t *testing.T) {
	for _, password := range []string{"ssis123", "größe", strings.Repeat("long", 40)} {
		file := zipOf(t, sealedEntries(t, EncryptSensitiveWithPassword, password))
		p, err := readBytes(file, Options{Password: password})
		if err != nil {
			t.Fatal(err)
		}
		if q := p.Packages[1].Parameters[0]; q.Value != "p&ss wörd" || !q.Sensitive {
			t.Errorf("the package's secret is %+v", q)
		}
		if q := p.Parameters[0]; !q.HasValue || !q.Sensitive || q.Type != DateTime {
			t.Errorf("an encrypted value is a sensitive one: %+v", q)
		}
		if len(p.Warnings) != 0 {
			t.Errorf("warnings %q", p.Warnings)
		}

		p, err = readBytes(file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if p.Packages[1].Parameters[0].HasValue || p.Parameters[0].HasValue || !p.Parameters[0].Sensitive {
			t.Errorf("without the password the values are not set: %+v", p.Parameters)
		}
		if len(p.Warnings) != 1 ||
			fmt.Sprint(p.Warnings) != `[{no_password [load.sh::Secret $Project::Day]}]` {
			t.Errorf("warnings %q", p.Warnings)
		}

		_, err = readBytes(file, Options{Password: password + "x"})
		wantError(t, err, ErrWrongPassword, manifestPart, "PasswordVerifier")
	}
}

func TestManyWarningsAreOne(t *testing.T) {
	p := sample()
	sealed := seal(t, "p", "Property", `SSIS:Name="Value"`, "x")
	for _, n := range strings.Split("abcdefghijklmn", "") {
		p.Parameters = append(p.Parameters, Parameter{Name: "CM." + n + ".Password", Type: String, Sensitive: true,
			HasValue: false})
	}
	entries := edit(entriesOf(t, writeBytes(t, p)), manifestPart, func(s string) string {
		return strings.ReplaceAll(s, `<SSIS:Property SSIS:Name="Sensitive">1</SSIS:Property>`,
			`<SSIS:Property SSIS:Name="Sensitive">1</SSIS:Property>`+sealed)
	})
	entries = edit(entries, manifestPart,
		replace(sealed+
			"\r\n              <SSIS:Property SSIS:Name=\"Value\" SSIS:Sensitive=\"1\">\r\n              </SSIS:Property>", ""))
	back, err := readBytes(zipOf(t, entries), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Warnings) != 1 || !strings.HasSuffix(fmt.Sprint(back.Warnings), "+4]}]") {
		t.Errorf("warnings %q", back.Warnings)
	}
}

func TestUserKeyValuesAreNotSet(t *testing.T) {
	base := entriesOf(t, writeBytes(t, sample()))
	base = edit(base, manifestPart, replace("DontSaveSensitive", "EncryptSensitiveWithUserKey"))
	base = edit(base, manifestPart, replace(`SSIS:Sensitive="1">`+"\r\n              <",
		`SSIS:Sensitive="1">`+dpapiBlob+`<`))
	base = edit(base, manifestPart, replace(`<SSIS:Property SSIS:Name="FormatVersion">`,
		`<SSIS:Property SSIS:Name="PasswordVerifier" SSIS:Sensitive="1">`+dpapiBlob+
			`</SSIS:Property><SSIS:Property SSIS:Name="FormatVersion">`))
	for _, password := range []string{"", "some"} {
		p, err := readBytes(zipOf(t, base), Options{Password: password})
		if err != nil {
			t.Fatal(err)
		}
		if q := p.Packages[1].Parameters[0]; q.HasValue || q.Value != nil {
			t.Errorf("a user-key value was taken for one: %+v", q)
		}
		if len(p.Warnings) == 0 ||
			!strings.Contains(fmt.Sprint(p.Warnings), `{user_key [load.sh::Secret`) {
			t.Errorf("warnings %q", p.Warnings)
		}
	}
}

func TestServerStorageKeepsPlainValues(t *testing.T) {
	p := sample()
	p.ProtectionLevel = ServerStorage
	p.Packages[1].Parameters[0].HasValue, p.Packages[1].Parameters[0].Value = true, "plain"
	back, err := readBytes(writeBytes(t, p), Options{})
	if err != nil || back.Packages[1].Parameters[0].Value != "plain" {
		t.Errorf("%v, %+v", err, back)
	}
}

func TestEncryptAllWithPassword(t *testing.T) {
	elements := sealedEntries(t, EncryptAllWithPassword, "ssis123")

	// The whole of a document may be encrypted too; the element keeps its name.
	whole := func(entries []entry, part, root, attrs string) []entry {
		return edit(entries, part, func(s string) string {
			inner := s[strings.Index(s, ">")+1:]
			if part == paramsPart {
				inner = s[strings.Index(s, "SSIS\">")+6:]
			}
			return seal(t, "ssis123", root, attrs, inner[:strings.LastIndex(inner, "</")])
		})
	}
	params := whole(elements, paramsPart, "Parameters", "")
	both := whole(params, manifestPart, "Project", `SSIS:ProtectionLevel="EncryptAllWithPassword"`)
	hidden := edit(both, manifestPart, func(s string) string { // the level inside only
		return strings.Replace(s, ` SSIS:ProtectionLevel="EncryptAllWithPassword"`, "", 1)
	})
	for name, entries := range map[string][]entry{"values": elements, "params": params, "both": both, "hidden": hidden} {
		t.Run(name, func(t *testing.T) {
			file := zipOf(t, entries)
			p, err := readBytes(file, Options{Password: "ssis123"})
			if err != nil {
				t.Fatal(err)
			}
			if p.Name != "Sample" || p.ProtectionLevel != EncryptAllWithPassword || len(p.Packages) != 2 ||
				p.Packages[1].Parameters[0].Value != "p&ss wörd" || !p.Parameters[0].HasValue ||
				len(p.Packages[0].Parameters) != 13 {
				t.Errorf("read as %+v", p)
			}
			_, err = readBytes(file, Options{})
			wantError(t, err, ErrPasswordRequired, manifestPart)
			_, err = readBytes(file, Options{Password: "ssis124"})
			wantError(t, err, ErrWrongPassword, manifestPart)
		})
	}
}

func TestEncryptAllWithUserKey(t *testing.T) {
	base := edit(entriesOf(t, writeBytes(t, sample())), manifestPart,
		replace("DontSaveSensitive", "EncryptAllWithUserKey"))
	for _, password := range []string{"", "ssis123"} {
		_, err := readBytes(zipOf(t, base), Options{Password: password})
		wantError(t, err, ErrUserKey, manifestPart)
	}
	for _, part := range []string{manifestPart, paramsPart} {
		root := map[string]string{manifestPart: "Project", paramsPart: "Parameters"}[part]
		blob := `<SSIS:` + root + ` xmlns:SSIS="` + ssisSpace + `" SSIS:Sensitive="1">` + dpapiBlob + `</SSIS:` + root + `>`
		_, err := readBytes(zipOf(t, edit(entriesOf(t, writeBytes(t, sample())), part, func(string) string { return blob })),
			Options{})
		wantError(t, err, ErrUserKey, part)
	}
}

func TestDamagedSecrets(t *testing.T) {
	good := sealedEntries(t, EncryptSensitiveWithPassword, "ssis123")
	noVerifier := func(s string) string {
		from := strings.Index(s, `<SSIS:Property SSIS:Name="PasswordVerifier"`)
		return s[:from] + s[from+strings.Index(s[from:], "</SSIS:Property>")+len("</SSIS:Property>"):]
	}
	// sealedAs replaces the encrypted value by another element under its name.
	sealedAs := func(name, inner string) func(string) string {
		return func(s string) string {
			from := strings.Index(s, `<SSIS:Property SSIS:Name="Value"`)
			to := from + strings.Index(s[from:], "</SSIS:Property>")
			sealed := seal(t, "ssis123", name, `SSIS:Name="Value"`, inner)
			sealed = "<SSIS:Property" + strings.TrimSuffix(strings.TrimPrefix(sealed, "<SSIS:"+name), name+">") + "Property>"
			return s[:from] + sealed + s[to+len("</SSIS:Property>"):]
		}
	}
	cases := map[string]struct {
		entries []entry
		kind    error
		part    string
	}{
		"short IV":     {edit(good, paramsPart, replace(`SSIS:IV="MTIz`, `SSIS:IV="`)), ErrFormat, paramsPart},
		"IV no base64": {edit(good, paramsPart, replace(`SSIS:IV="MTIz`, `SSIS:IV="????`)), ErrFormat, paramsPart},
		"text no base64": {edit(good, paramsPart, replace(`SSIS:IV="MTIzNDU2Nzg=">`, `SSIS:IV="MTIzNDU2Nzg=">?`)), ErrFormat,
			paramsPart},
		"text cut": {edit(good, paramsPart, replace(`SSIS:IV="MTIzNDU2Nzg=">`, `SSIS:IV="MTIzNDU2Nzg=">AAAA`)),
			ErrFormat, paramsPart},
		"other element": {edit(good, paramsPart, sealedAs("Parameter", "2017-05-30")), ErrFormat, paramsPart},
		"no verifier":   {edit(good, manifestPart, noVerifier), nil, ""},
		"verifier says other": {edit(edit(good, manifestPart, noVerifier), manifestPart,
			replace(`<SSIS:Property SSIS:Name="FormatVersion">`,
				seal(t, "ssis123", "Property", `SSIS:Name="PasswordVerifier"`, "OTHER")+
					`<SSIS:Property SSIS:Name="FormatVersion">`)), ErrWrongPassword, manifestPart},
		"sealed DOCTYPE":       {edit(good, paramsPart, sealedAs("Property", "]]>"+bomb)), ErrFormat, paramsPart},
		"secret of wrong type": {edit(good, paramsPart, replace(`"DataType">16<`, `"DataType">9<`)), ErrFormat, paramsPart},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := readBytes(zipOf(t, c.entries), Options{Password: "ssis123"})
			if c.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantError(t, err, c.kind, c.part)
			if strings.Contains(err.Error(), "2017") || strings.Contains(err.Error(), "ssis123") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	// Without a verifier the first value tells that the password is wrong.
	_, err := readBytes(zipOf(t, edit(good, manifestPart, noVerifier)), Options{Password: "wrong"})
	wantError(t, err, ErrWrongPassword, manifestPart)
}

func TestKeyDerivation(t *testing.T) {
	key, err := newProjectKey("ssis123")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ iv, sealed []byte }{{nil, nil}, {make([]byte, 8), nil},
		{make([]byte, 8), make([]byte, 7)}, {make([]byte, 7), make([]byte, 8)}, {make([]byte, 8), make([]byte, 64)}} {
		if plain, err := key.decrypt(c.iv, c.sealed); err == nil {
			t.Errorf("%d bytes under an IV of %d decrypt to %q", len(c.sealed), len(c.iv), plain)
		}
	}
	for plain, good := range map[string]bool{"AAAAAA\x02\x02": true, "AAAAAA\x01\x02": false, "AAAAAAA\x00": false,
		"AAAAAAA\x09": false} {
		sealed := []byte(plain)
		cipher.NewCBCEncrypter(key.block, make([]byte, 8)).CryptBlocks(sealed, sealed)
		if _, err := key.decrypt(make([]byte, 8), sealed); (err == nil) != good {
			t.Errorf("padding of %q: %v", plain, err)
		}
	}
}
