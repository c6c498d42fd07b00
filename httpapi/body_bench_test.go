package httpapi

import (
	"bytes"
	"encoding/base64"
	"testing"

	"scaleout/fsm/procedure"
)

// BenchmarkProjectInTheBody is what reading the arguments of a deploy with an 8 MiB file costs, before its plan.
func BenchmarkProjectInTheBody(b *testing.B) {
	file := bytes.Repeat([]byte{7, 130, 255}, 8<<20/3)
	body := []byte(`{"folder_name":"F","project_name":"P","project_stream":"` +
		base64.StdEncoding.EncodeToString(file) + `"}`)
	p, _ := procedure.Named("deploy_project")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r := &request{body: body}
		raw, err := r.arguments()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Bind(raw); err != nil {
			b.Fatal(err)
		}
	}
}
