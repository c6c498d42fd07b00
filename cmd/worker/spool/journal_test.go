package spool

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever stands in a journal's file, opening it keeps a prefix of whole records, and what is appended afterwards is
// there at the next opening.
func FuzzJournal(f *testing.F) {
	for _, r := range []record{{}, {Messages: texts("a", "b"), Mark: 3}, {Closed: true, Full: true}, {Skip: 7, Mark: -1}} {
		line, err := encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
		f.Add(append(line, line[:len(line)/2]...))
	}
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "7-1.messages")
		must(t, os.WriteFile(path, data, 0o600))
		j, err := openJournal(path)
		must(t, err)
		before := j.count()
		if _, err := j.read(1 << 20); err != nil {
			t.Fatal(err)
		}
		must(t, j.append(record{Messages: texts("after"), Mark: 9}))
		must(t, j.file.Close())
		j, err = openJournal(path)
		must(t, err)
		defer j.file.Close()
		if j.count() != before+1 || j.mark != 9 {
			t.Fatalf("%d messages before, %d after, mark %d", before, j.count(), j.mark)
		}
	})
}
