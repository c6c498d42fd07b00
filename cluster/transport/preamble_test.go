package transport

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPreamble(t *testing.T) {
	want := preamble{Cluster: "c", From: "m1", Wanted: "m2"}
	r := bytes.NewReader(append(want.marshal(), "rest"...))
	got, err := readPreamble(r)
	if err != nil || got != want {
		t.Fatal(got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Errorf("read too far; left %q", rest)
	}
	whole := want.marshal()
	for n := range len(whole) {
		if _, err := readPreamble(bytes.NewReader(whole[:n])); !errors.Is(err, ErrBadPreamble) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, bad := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"SCLO\x02\x01c\x02m1\x02m2",
		"SCLO\x01\x00\x02m1\x02m2",
		"SCLO\x01\x01c\x03m/1\x02m2",
		"SCLO\x01\x01c\xff" + strings.Repeat("m", 255),
	} {
		if _, err := readPreamble(strings.NewReader(bad)); !errors.Is(err, ErrBadPreamble) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestVerdict(t *testing.T) {
	for v, want := range map[verdict]error{
		verdictOK: nil, verdictBad: ErrBadPreamble, verdictWrongCluster: ErrWrongCluster,
		verdictWrongNode: ErrWrongNode, verdictBusy: ErrBusy, verdictNotReady: ErrNotReady, 99: ErrNotReady,
	} {
		err := readVerdict(bytes.NewReader(marshalVerdict(v, strings.Repeat("why", 100))))
		if !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("%d: %v, want %v", v, err, want)
		}
	}
}

func FuzzPreamble(f *testing.F) {
	f.Add(preamble{Cluster: "c", From: "m1", Wanted: "m2"}.marshal())
	f.Add([]byte("SCLO\x01"))
	f.Add([]byte("SCLO\x01\x80"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		p, err := readPreamble(r)
		if read := len(data) - r.Len(); read > 5+3*(maxID+1) {
			t.Fatalf("read %d bytes", read)
		}
		if err != nil {
			return
		}
		if again := p.marshal(); !bytes.HasPrefix(data, again) {
			t.Fatalf("%q became %q", data, again)
		}
	})
}

func FuzzVerdict(f *testing.F) {
	f.Add(marshalVerdict(verdictWrongNode, "m3"))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		err := readVerdict(bytes.NewReader(data))
		if err == nil && (len(data) < 2 || data[0] != 0) {
			t.Fatalf("%q was taken for yes", data)
		}
	})
}
