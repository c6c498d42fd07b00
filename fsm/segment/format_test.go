package segment_test

import (
	"bytes"
	"flag"
	"path/filepath"
	"reflect"
	"testing"

	"scaleout/fsm/fsmtest"
	"scaleout/fsm/segment"
)

var update = flag.Bool("update", false, "make the fixture if it is missing; it is never replaced")

// Segments of format 1 are read for ever. Their bytes may change: compression may become better.
func TestFormat1IsRead(t *testing.T) {
	want := []segment.Part{
		{TaskID: 7, Attempt: 1, FirstSeq: 1, Messages: []segment.Message{
			{Time: 1_700_000_000_000_000_000, Type: 70, SourceType: 20, Text: "begins: Ärger\n"},
			{Time: -1, Type: 120, SourceType: 60, Text: ""}}},
		{TaskID: 1 << 40, Attempt: 101, FirstSeq: 1 << 33, Messages: []segment.Message{{Text: "ends"}}},
	}
	raw := fsmtest.Fixture(t, filepath.Join("testdata", "format-1", "segment"), *update, func() []byte {
		b, err := segment.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	f, err := segment.Open(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if f.Parts() != len(want) {
		t.Fatalf("%d parts, want %d", f.Parts(), len(want))
	}
	for i := range want {
		if got, err := f.Part(i); err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("part %d: %+v, %v", i, got, err)
		}
	}
}
