package fsmtest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// Fixture reads a file of a format that must be read for ever. With update it makes the file if it is missing, by
// calling make; it never replaces one, since other bytes are another format. To replace it, remove it first: nobody may
// have data of that format then.
func Fixture(t testing.TB, path string, update bool, make func() []byte) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) || !update {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b = make()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}

// FormatLog writes a log as text for a fixture: one line for an entry, with index, term and data in hexadecimal.
func FormatLog(logs []*raft.Log) []byte {
	var b []byte
	for _, l := range logs {
		b = fmt.Appendf(b, "%d %d %x\n", l.Index, l.Term, l.Data)
	}
	return b
}

// ParseLog reads what FormatLog wrote.
func ParseLog(t testing.TB, text []byte) (logs []*raft.Log) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		l, data := &raft.Log{Type: raft.LogCommand}, ""
		_, err := fmt.Sscanf(line, "%d %d %s", &l.Index, &l.Term, &data)
		if err == nil {
			l.Data, err = hex.DecodeString(data)
		}
		if err != nil {
			t.Fatalf("line %.40q of a log: %v", line, err)
		}
		logs = append(logs, l)
	}
	return logs
}
