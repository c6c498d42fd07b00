package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func TestDamagedLogFile(t *testing.T) {
	orig := t.TempDir()
	d := open(t, orig)
	must(t, d.Log().SetUint64([]byte("CurrentTerm"), 3))
	for i := uint64(1); i < 60; i += 3 {
		must(t, d.Log().StoreLogs(entries(i, i+2, 700)))
	}
	closeDir(t, d)
	content, err := os.ReadFile(filepath.Join(orig, logName))
	must(t, err)
	identity, err := os.ReadFile(filepath.Join(orig, nodeName))
	must(t, err)

	try := func(t *testing.T, damaged []byte) error {
		path := t.TempDir()
		must(t, os.WriteFile(filepath.Join(path, nodeName), identity, 0o600))
		file := filepath.Join(path, logName)
		must(t, os.WriteFile(file, damaged, 0o600))
		d, err := Open(path, Options{Logger: quiet()})
		if err == nil {
			last, _ := d.Log().LastIndex()
			for i := uint64(1); i <= last; i++ {
				wantEntry(t, d.Log(), entry(i, 700))
			}
			d.Close()
			return nil
		}
		wantErr(t, err, ErrCorrupt, file, "empty one", "new node")
		if now, _ := os.ReadFile(file); !bytes.Equal(now, damaged) {
			t.Error("the damaged file was changed")
		}
		return err
	}
	for name, damage := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"tiny":      func(b []byte) []byte { return b[:100] },
		"half":      func(b []byte) []byte { return b[:len(b)/2/4096*4096] },
		"metas":     func(b []byte) []byte { clear(b[:8192]); return b },
		"zeros":     func(b []byte) []byte { clear(b); return b },
		"text":      func(b []byte) []byte { return bytes.Repeat([]byte("hello "), 5000) },
		"all pages": func(b []byte) []byte { clear(b[8192:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			if try(t, damage(bytes.Clone(content))) == nil {
				t.Error("opened")
			}
		})
	}
	t.Run("a bit in an entry", func(t *testing.T) {
		at := bytes.LastIndex(content, bytes.Repeat([]byte{30}, 700))
		b := bytes.Clone(content)
		b[at+350] ^= 1
		if err := try(t, b); err != nil {
			wantErr(t, err, ErrCorrupt, "entry 30")
		} else {
			t.Error("opened")
		}
	})
	t.Run("a branch that leads to itself", func(t *testing.T) {
		b := bytes.Clone(content)
		for page := 2 * 4096; page < len(b); page += 4096 {
			if native.Uint16(b[page+8:]) == kindBranch {
				native.PutUint16(b[page+10:], 1)
				copy(b[page+24:page+32], b[page:page+8]) // its first entry gets its own number
			}
		}
		if err := try(t, b); err == nil || !strings.Contains(err.Error(), "used twice") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("bits anywhere", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		refused := 0
		for range 150 {
			b := bytes.Clone(content)
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			if try(t, b) != nil {
				refused++
			}
		}
		if refused == 0 {
			t.Error("never noticed")
		}
	})
}

// Whatever the file holds, examining it neither panics nor runs on for ever. A file that passes can be opened
// by the database, which trusts it.
func FuzzExamine(f *testing.F) {
	var bases [][]byte
	for _, n := range []uint64{0, 30, 400} {
		path := filepath.Join(f.TempDir(), logName)
		d, err := openDisk(path, false, new(gate), func(*raft.Log) {})
		must(f, err)
		for i := uint64(1); i <= n; i += 3 {
			must(f, d.StoreLogs(entries(i, i+2, 70)))
		}
		must(f, d.Close())
		content, err := os.ReadFile(path)
		must(f, err)
		bases = append(bases, content)
	}
	// The seeds hit heads of pages, first entries of pages, and bytes anywhere.
	for base := range bases {
		for page := range uint32(8) {
			for _, at := range []uint32{0, 8, 10, 12, 16, 20, 24, 28} {
				f.Add(uint8(base), page*4096+at, []byte{0xff, 0xff, 0xff, 0xff})
			}
		}
	}
	f.Fuzz(func(t *testing.T, base uint8, at uint32, patch []byte) {
		content := bytes.Clone(bases[int(base)%len(bases)])
		copy(content[int(at)%len(content):], patch)
		if _, err := examinePages(bytes.NewReader(content), int64(len(content))); err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), logName)
		must(t, os.WriteFile(path, content, 0o600))
		d, err := openDisk(path, true, new(gate), func(*raft.Log) {})
		if err == nil {
			err = d.Close()
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
	})
}

func TestReadingADamagedEntry(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, noCache)
	must(t, d.Log().StoreLogs(entries(1, 40, 700)))
	content, err := os.ReadFile(filepath.Join(path, logName))
	must(t, err)
	// The database reads through the page cache, so it sees the flipped bit.
	flip(t, filepath.Join(path, logName), int64(bytes.LastIndex(content, bytes.Repeat([]byte{20}, 700))+10))
	wantErr(t, d.Log().GetLog(20, new(raft.Log)), ErrCorrupt, "entry 20", logName)
	wantEntry(t, d.Log(), entry(21, 700))
}
