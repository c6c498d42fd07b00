package ispac

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const samplePassword = "ssis123" // published by the sample's author

func realFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "ispac", name+".ispac"))
	if err != nil {
		t.Skipf("the collection of real project files does not stand beside the repository: %v", err)
	}
	return data
}

// tally is what a scope's parameters come to.
type tally struct{ generated, sensitive, unset int }

func tallyOf(params []Parameter) (n tally, declared []string) {
	for _, p := range params {
		if !p.Generated() {
			declared = append(declared, fmt.Sprintf("%s %s required=%t sensitive=%t %v", p.Name, p.Type, p.Required,
				p.Sensitive, p.Value))
			continue
		}
		n.generated++
		if p.Sensitive {
			n.sensitive++
		}
		if !p.HasValue {
			n.unset++
		}
	}
	return n, declared
}

func TestRealFiles(t *testing.T) {
	type pkg struct {
		name     string
		entry    bool
		build    int
		declared []string
		tally    tally
	}
	load := []string{"LoadExecutionId Int64 required=true sensitive=false 0"}
	cases := []struct {
		file, password string
		id             string
		level          ProtectionLevel
		version        [3]int
		managers       []string
		declared       []string
		tally          tally
		packages       []pkg
		format         int
		warnings       string
	}{
		{file: "CustomLogging", id: "88606485-CEA0-433B-80B0-FC06E7A4201C", level: EncryptSensitiveWithUserKey,
			version: [3]int{1, 0, 0}, format: 8,
			packages: []pkg{{"CustomLogging.dtsx", true, 4, nil, tally{6, 1, 2}}}},
		{file: "Chapter05", id: "48ACC308-4489-4AFC-A0CC-5256D10BF067", level: DontSaveSensitive, format: 8,
			packages: []pkg{{"DataProfiling.dtsx", true, 2, nil, tally{7, 1, 2}},
				{"DataMatching.dtsx", true, 5, nil, tally{6, 1, 2}}}},
		{file: "AdventureWorksETL", id: "26FB03B2-5BE6-494D-B326-923B2D480D62", level: EncryptSensitiveWithUserKey,
			version: [3]int{1, 0, 0}, format: 8,
			packages: []pkg{
				{"CascadingLookup.dtsx", true, 14, nil, tally{30, 3, 7}},
				{"LookupCache.dtsx", true, 14, nil, tally{33, 3, 8}},
				{"LookupExpression.dtsx", true, 49, nil, tally{33, 3, 6}},
				{"ExecutionTrees.dtsx", true, 76, []string{
					"LoadDate DateTime required=false sensitive=false 1900-01-01 00:00:00 +0000 UTC",
					"LoadID Int32 required=false sensitive=false 0",
					"SourceLoadID Int32 required=false sensitive=false 0"}, tally{6, 1, 2}},
			}},
		{file: "ETL", id: "405169A5-1B8D-43E8-824A-511023416C91", level: DontSaveSensitive, version: [3]int{1, 0, 0},
			format: 8,
			managers: []string{"cmgr_DW.conmgr", "cmgr_Source.conmgr", "cmgr_MDS_DB.conmgr",
				"cmgr_AsureStorage_ssiscookbook.conmgr"},
			declared: []string{
				"Cmgr_DW String required=true sensitive=false Data Source=.;Initial " +
					"Catalog=AdventureWorksLTDW2016;Provider=SQLNCLI11.1;Integrated Security=SSPI;",
				"Cmgr_Source String required=true sensitive=false Data Source=.;Initial " +
					"Catalog=AdventureWorksLT;Provider=SQLNCLI11.1;Integrated Security=SSPI;",
				"LoadId Int64 required=false sensitive=false -1",
				"EnvironmentName String required=true sensitive=false Staging",
				"Cmgr_AsureStorage_ssiscookbook_AccountKey String required=true sensitive=false UkVEQUNURUQ=",
			},
			tally: tally{22, 3, 6},
			packages: []pkg{
				{"StgProductCategory.dtsx", false, 74, load, tally{}},
				{"StgSalesOrderHeader.dtsx", true, 114, load, tally{}},
				{"StgSalesOrderDetail.dtsx", false, 73, load, tally{}},
				{"StgProductModelProductDescription.dtsx", false, 77, []string{"LoadID Int32 required=true sensitive=false 0"},
					tally{}},
				{"StgProductModel.dtsx", false, 79, load, tally{}},
				{"StgProductDescription.dtsx", true, 83, load, tally{}},
				{"StgProduct.dtsx", true, 139, load, tally{}},
				{"StgCustomerAddress.dtsx", true, 79, load, tally{}},
				{"StgCustomer.dtsx", false, 171, load, tally{}},
				{"StgAddress.dtsx", false, 97, load, tally{}},
				{"EP_Staging.dtsx", true, 157, nil, tally{}},
				{"StgAggregatedSalesFromCloudDW.dtsx", true, 13, nil, tally{}},
			}},
		{file: "SampleSSISProject", password: samplePassword, id: "623E2444-6A15-4B2A-83EF-0DE2BB47E8A2",
			level: EncryptSensitiveWithPassword, format: 6,
			managers: []string{"db-01 msdb.conmgr", "FTP Connection Manager.conmgr", "SMTP Connection Manager.conmgr"},
			declared: []string{"SourceDBServer String required=false sensitive=false db-01112",
				"SourceDBName String required=false sensitive=true master"},
			tally: tally{20, 2, 2},
			packages: []pkg{
				{"Package 221.dtsx", true, 36, []string{"Parameteraa Int32 required=false sensitive=false 0",
					"Parameterwere Int32 required=false sensitive=true 2"}, tally{15, 1, 1}},
				{"Package1.dtsx", true, 4, nil, tally{6, 1, 2}},
			}},
		{file: "SampleSSISProject", id: "623E2444-6A15-4B2A-83EF-0DE2BB47E8A2", level: EncryptSensitiveWithPassword,
			format:   6,
			managers: []string{"db-01 msdb.conmgr", "FTP Connection Manager.conmgr", "SMTP Connection Manager.conmgr"},
			declared: []string{"SourceDBServer String required=false sensitive=false db-01112",
				"SourceDBName String required=false sensitive=true <nil>"},
			tally: tally{20, 2, 2},
			packages: []pkg{
				{"Package 221.dtsx", true, 36, []string{"Parameteraa Int32 required=false sensitive=false 0",
					"Parameterwere Int32 required=false sensitive=true <nil>"}, tally{15, 1, 1}},
				{"Package1.dtsx", true, 4, nil, tally{6, 1, 2}},
			},
			warnings: `[{no_password [Package 221.dtsx::Parameterwere $Project::SourceDBName]}]`},
	}
	for _, c := range cases {
		t.Run(c.file+"/"+c.password, func(t *testing.T) {
			p, err := readBytes(realFile(t, c.file), Options{Password: c.password})
			if err != nil {
				t.Fatal(err)
			}
			if p.Name != c.file || p.ID != c.id || p.ProtectionLevel != c.level || p.FormatVersion != 1 ||
				[3]int{p.VersionMajor, p.VersionMinor, p.VersionBuild} != c.version {
				t.Errorf("project is %s %s %s, version %d.%d.%d, format %d", p.Name, p.ID, p.ProtectionLevel, p.VersionMajor,
					p.VersionMinor, p.VersionBuild, p.FormatVersion)
			}
			if !slices.Equal(p.ConnectionManagers, c.managers) || len(p.Files) != 0 ||
				len(p.Warnings) > 0 && fmt.Sprint(p.Warnings) != c.warnings || len(p.Warnings) == 0 && c.warnings != "" {
				t.Errorf("connection managers %q, files %q, warnings %q", p.ConnectionManagers, p.Files, p.Warnings)
			}
			if n, declared := tallyOf(p.Parameters); n != c.tally || !slices.Equal(declared, c.declared) {
				t.Errorf("project parameters %+v\n%s", n, strings.Join(declared, "\n"))
			}
			var got []pkg
			for _, k := range p.Packages {
				n, declared := tallyOf(k.Parameters)
				got = append(got, pkg{k.Name, k.EntryPoint, k.VersionBuild, declared, n})
				if k.FormatVersion != c.format || k.ProtectionLevel != c.level || k.VersionMajor != 1 || len(k.ID) != 36 ||
					len(k.VersionGUID) != 36 {
					t.Errorf("package %+v", k)
				}
			}
			if !reflect.DeepEqual(got, c.packages) {
				t.Errorf("packages are\n%+v, not\n%+v", got, c.packages)
			}
		})
	}
}

func TestRealFileValues(t *testing.T) {
	p, err := readBytes(realFile(t, "AdventureWorksETL"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var newlines int
	for _, k := range p.Packages {
		for _, q := range k.Parameters {
			if q.Name == "LoadDate" && q.Value != time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC) {
				t.Errorf("LoadDate is %v", q.Value)
			}
			if strings.HasSuffix(q.Name, ".HeaderRowDelimiter") && q.Value == "\n" {
				newlines++ // kept by xml:space="preserve"
			}
			if strings.HasSuffix(q.Name, ".RetainSameConnection") && q.Value != false {
				t.Errorf("%s is %v", q.Name, q.Value)
			}
		}
	}
	if newlines == 0 {
		t.Error("no HeaderRowDelimiter is a line break")
	}
	if p.Description != "" || p.VersionComments != "" {
		t.Errorf("empty texts read as %q and %q", p.Description, p.VersionComments)
	}
}

func TestRealFileWrongPassword(t *testing.T) {
	file := realFile(t, "SampleSSISProject")
	for _, password := range []string{"ssis124", "SSIS123", " ssis123", "ä"} {
		_, err := readBytes(file, Options{Password: password})
		wantError(t, err, ErrWrongPassword, manifestPart)
		if strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// A real file, written again, must read the same, and be laid out alike.
func TestRealFilesWrittenAgain(t *testing.T) {
	for _, name := range []string{"Chapter05", "ETL"} {
		file := realFile(t, name)
		p, err := readBytes(file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		bodies := map[string][]byte{}
		err = Extract(bytes.NewReader(file), int64(len(file)), Options{},
			func(part string, _ int64, r io.Reader) (err error) {
				bodies[part], err = io.ReadAll(r)
				return err
			})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		err = Write(&b, p, func(part string) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(bodies[part])), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		again, err := readBytes(b.Bytes(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p, again) {
			was, _ := json.Marshal(p)
			is, _ := json.Marshal(again)
			t.Errorf("%s reads differently when written again:\n%s\n%s", name, was, is)
		}
		theirs, ours := entriesOf(t, file), entriesOf(t, b.Bytes())
		for i := range theirs {
			if theirs[i].name != ours[i].name {
				t.Errorf("%s: entry %d is %s, not %s", name, i, ours[i].name, theirs[i].name)
			}
			if theirs[i].name == contentTypesPart && theirs[i].data != ours[i].data {
				t.Errorf("%s: content types are\n%q, not\n%q", name, ours[i].data, theirs[i].data)
			}
			if theirs[i].name == manifestPart || theirs[i].name == paramsPart {
				sameLines(t, name+" "+theirs[i].name, ours[i].data, theirs[i].data)
			}
		}
	}
}

// sameLines compares texts but for GUIDs' case, which our project keeps in upper case.
func sameLines(t *testing.T, what, got, want string) {
	t.Helper()
	g, w := strings.Split(strings.ToUpper(got), "\r\n"), strings.Split(strings.ToUpper(want), "\r\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s, line %d is\n%s, not\n%s", what, i+1, g[i], w[i])
			return
		}
	}
	if len(g) != len(w) {
		t.Errorf("%s has %d lines, not %d", what, len(g), len(w))
	}
}
