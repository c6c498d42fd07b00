package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"
	"time"
)

// A file is never younger than the moment in which it was made.
func TestTimesInAnArchiveAreCut(t *testing.T) {
	now := time.Date(2026, 1, 31, 23, 59, 59, 999_999_999, time.UTC)
	var raw bytes.Buffer
	b := newBundle(&raw, now)
	b.add("a.txt", []byte("a"))
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(&raw)
	if err != nil {
		t.Fatal(err)
	}
	head, err := tar.NewReader(zip).Next()
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC); !head.ModTime.Equal(want) {
		t.Errorf("%v, want %v", head.ModTime, want)
	}
}
