package segment

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func message() *rapid.Generator[Message] {
	return rapid.Custom(func(t *rapid.T) Message {
		return Message{
			Time:       rapid.Int64().Draw(t, "time"),
			Type:       rapid.IntRange(-1, 400).Draw(t, "type"),
			SourceType: rapid.IntRange(10, 60).Draw(t, "source"),
			Text:       rapid.String().Draw(t, "text"),
		}
	})
}

func drawPart() *rapid.Generator[Part] {
	return rapid.Custom(func(t *rapid.T) Part {
		return Part{
			TaskID:   rapid.Int64Min(1).Draw(t, "task"),
			Attempt:  rapid.IntRange(1, 101).Draw(t, "attempt"),
			FirstSeq: rapid.Int64Min(0).Draw(t, "seq"),
			Messages: rapid.SliceOfN(message(), 1, 20).Draw(t, "messages"),
		}
	})
}

func TestWhatIsPackedReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(drawPart(), 0, 8).Draw(t, "parts")
		raw, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if f.Parts() != len(want) {
			t.Fatalf("%d parts read, %d written", f.Parts(), len(want))
		}
		for i := range want {
			got, err := f.Part(i)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want[i]) {
				t.Fatalf("part %d: %+v, want %+v", i, got, want[i])
			}
		}
	})
}

func TestMergeKeepsPartsInTheOrderPicked(t *testing.T) {
	a := Part{TaskID: 1, Attempt: 1, FirstSeq: 0, Messages: []Message{{Text: "a"}}}
	b := Part{TaskID: 2, Attempt: 1, FirstSeq: 5, Messages: []Message{{Text: "b"}, {Text: "b2"}}}
	c := Part{TaskID: 1, Attempt: 1, FirstSeq: 1, Messages: []Message{{Text: "c"}}}
	files := make([]*File, 2)
	for i, parts := range [][]Part{{a, b}, {c}} {
		raw, err := Encode(parts)
		if err != nil {
			t.Fatal(err)
		}
		if files[i], err = Parse(raw); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := Merge(files, []Pick{{0, 0}, {1, 0}, {0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Part{a, c, b} {
		if got, err := f.Part(i); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("part %d: %+v, %v; want %+v", i, got, err, want)
		}
	}
	if _, err := Merge(files, []Pick{{2, 0}}); err == nil {
		t.Error("a pick of a source that does not exist was taken")
	}
}

func TestDamageIsNamed(t *testing.T) {
	raw, err := Encode([]Part{{TaskID: 1, Attempt: 1, Messages: []Message{{Text: "hello"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty":     nil,
		"no magic":  raw[1:],
		"truncated": raw[:len(raw)-3],
		"flipped":   append(append([]byte{}, raw[:len(raw)-2]...), raw[len(raw)-2]^0xff, raw[len(raw)-1]),
	} {
		if _, err := Parse(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
	f, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, 1} {
		if _, err := f.Part(i); !errors.Is(err, ErrFormat) {
			t.Errorf("part %d: %v, want ErrFormat", i, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	raw, err := Encode([]Part{{TaskID: 7, Attempt: 2, FirstSeq: 3,
		Messages: []Message{{1, 70, 20, "x"}, {2, 120, 20, "y"}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := Parse(raw)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%v is not ErrFormat", err)
			}
			return
		}
		for i := range file.Parts() {
			if _, err := file.Part(i); err != nil && !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
		}
	})
}
