package ispac

import (
	"fmt"
	"reflect"
	"testing"
)

// large is a project of 300 packages with a manifest of more than 5 MB, which
// is about what a warehouse of ten years has.
func large(tb testing.TB) (*Project, []byte) {
	tb.Helper()
	p := &Project{ID: sample().ID, Name: "Warehouse", FormatVersion: 1}
	for i := range 300 {
		pkg := Package{Name: fmt.Sprintf("Load %03d.dtsx", i), EntryPoint: true, FormatVersion: 8}
		for j := range 21 {
			pkg.Parameters = append(pkg.Parameters, Parameter{
				Name: fmt.Sprintf("CM.server%d.db%d.ConnectionString", i%7, j), Type: String, HasValue: true,
				Value: fmt.Sprintf("Data Source=server%d;Initial Catalog=db%d;Provider=SQLNCLI11.1;Integrated Security=SSPI;",
					i%7, j),
			})
		}
		p.Packages = append(p.Packages, pkg)
	}
	manifest, err := p.manifest()
	if err != nil {
		tb.Fatal(err)
	}
	if len(manifest) < 5<<20 {
		tb.Fatalf("the manifest has %d bytes only", len(manifest))
	}
	return p, writeBytes(tb, p)
}

func TestLargeProject(t *testing.T) {
	p, file := large(t)
	back, err := readBytes(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, back) {
		t.Error("300 packages come back different")
	}
}

func BenchmarkReadLarge(b *testing.B) {
	_, file := large(b)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readBytes(file, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteLarge(b *testing.B) {
	p, _ := large(b)
	b.ReportAllocs()
	for b.Loop() {
		writeBytes(b, p)
	}
}
