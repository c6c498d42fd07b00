package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// usedLog returns the path and the content of a directory whose log has 60 entries on several pages.
func usedLog(t *testing.T) (path string, content []byte) {
	t.Helper()
	path = t.TempDir()
	d := open(t, path)
	must(t, d.Log().SetUint64([]byte("CurrentTerm"), 3))
	for i := uint64(1); i < 60; i += 3 {
		must(t, d.Log().StoreLogs(entries(i, i+2, 700)))
	}
	closeDir(t, d)
	content, err := os.ReadFile(filepath.Join(path, logName))
	must(t, err)
	return path, content
}

// pagesInUse lists where the pages of a log file begin that a reader reaches, without the meta pages.
func pagesInUse(t *testing.T, content []byte) (at []int) {
	t.Helper()
	p, err := openPages(bytes.NewReader(content), int64(len(content)))
	must(t, err)
	buckets, err := p.buckets()
	must(t, err)
	must(t, p.bucket(buckets["logs"], func(_, _ []byte) error { return nil }))
	for id := range p.seen {
		if id > 1 && native.Uint64(content[int64(id)*p.pageSize:]) == id { // not one that overflow took
			at = append(at, int(int64(id)*p.pageSize))
		}
	}
	slices.Sort(at)
	if len(at) < 4 {
		t.Fatalf("only %d pages", len(at))
	}
	return at
}

func examineContent(content []byte) (examined, error) {
	return examinePages(bytes.NewReader(content), int64(len(content)))
}

// A kind of page that bbolt has grown is no damage for pages.go. The bbolt of this program refuses it, so that a
// flipped bit in a page's kind is found all the same.
func TestAPageOfAnUnknownKind(t *testing.T) {
	path, content := usedLog(t)
	file := filepath.Join(path, logName)
	for i, at := range pagesInUse(t, content) {
		old := native.Uint16(content[at+8:])
		for _, bit := range []int{i % 16, (i + 5) % 16} { // other bits for each page
			kind := old ^ 1<<bit
			t.Run(fmt.Sprintf("page %d of kind %#x", at/4096, kind), func(t *testing.T) {
				damaged := bytes.Clone(content)
				native.PutUint16(damaged[at+8:], kind)
				out, err := examineContent(damaged)
				if unknown := isUnknownKind(kind); unknown != (err == nil) || unknown != (len(out.unverified) > 0) {
					t.Errorf("unverified %q, error %v", out.unverified, err)
				}
				must(t, os.WriteFile(file, damaged, 0o600))
				_, err = Open(path, Options{Logger: quiet()})
				wantErr(t, err, ErrCorrupt, file)
				if isUnknownKind(kind) {
					wantErr(t, err, ErrCorrupt, "newer program", fmt.Sprintf("kind %#x", kind))
				}
				if now, _ := os.ReadFile(file); !bytes.Equal(now, damaged) {
					t.Error("the file was changed")
				}
			})
		}
	}
	must(t, os.WriteFile(file, content, 0o600))
	d := open(t, path)
	wantRange(t, d.Log(), 1, 60)
}

// What is known is looked at although something else is not.
func TestDamageBesideAPageOfAnUnknownKind(t *testing.T) {
	_, content := usedLog(t)
	pages := pagesInUse(t, content)
	var leaves []int
	for _, at := range pages {
		if native.Uint16(content[at+8:]) == kindLeaf {
			leaves = append(leaves, at)
		}
	}
	native.PutUint16(content[leaves[1]+8:], 0x20)
	if _, err := examineContent(content); err != nil {
		t.Fatal(err)
	}
	native.PutUint64(content[leaves[2]:], 77)
	if _, err := examineContent(content); err == nil || !strings.Contains(err.Error(), "says that it is page 77") {
		t.Errorf("error %v", err)
	}
}

// A bbolt that knows more kinds of pages than pages.go reads the file, and then its entries decide.
func TestWhatTheLibraryKnowsIsRead(t *testing.T) {
	dir, _ := usedLog(t)
	path := filepath.Join(dir, logName)
	whole, err := examine(path)
	must(t, err)
	for name, known := range map[string][]uint64{"no page was read": nil, "some pages were read": whole.indexes[:10]} {
		t.Run(name, func(t *testing.T) {
			var found []uint64
			d, err := openExamined(path, examined{tx: whole.tx, indexes: known, unverified: []string{"page 3"}}, new(gate),
				func(e *raft.Log) { found = append(found, e.Index) })
			must(t, err)
			must(t, d.Close())
			if !slices.Equal(found, whole.indexes) {
				t.Errorf("read %v, want %v", found, whole.indexes)
			}
		})
	}
	if now, err := examine(path); err != nil || now.tx != whole.tx {
		t.Errorf("transaction %d, was %d, %v", now.tx, whole.tx, err)
	}
}

// The library ignores flags of an entry that it does not know, so the log is whole, and the start goes on with a
// warning.
func TestAnEntryWithUnknownFlags(t *testing.T) {
	for _, c := range []struct {
		flags   uint32
		damaged bool
	}{{0x2, false}, {0x8000_0000, false}, {0x1, true}, {0x3, true}} {
		t.Run(fmt.Sprintf("%#x", c.flags), func(t *testing.T) {
			path, content := usedLog(t)
			value := bytes.LastIndex(content, bytes.Repeat([]byte{30}, 700))
			page := value / 4096 * 4096
			for native.Uint64(content[page:]) != uint64(page/4096) || native.Uint16(content[page+8:]) != kindLeaf {
				page -= 4096 // the value stands in a page that overflow took
			}
			native.PutUint32(content[page+pageHead:], c.flags)
			file := filepath.Join(path, logName)
			must(t, os.WriteFile(file, content, 0o600))
			var log bytes.Buffer
			d, err := Open(path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), LogCacheBytes: -1})
			if c.damaged {
				wantErr(t, err, ErrCorrupt, file)
				return
			}
			must(t, err)
			for _, want := range []string{"level=WARN", "cannot be verified", fmt.Sprintf("%#x", c.flags), file} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log %q lacks %q", &log, want)
				}
			}
			for i := uint64(1); i <= 60; i++ {
				wantEntry(t, d.Log(), entry(i, 700))
			}
			must(t, d.Log().StoreLogs(entries(61, 70, 700)))
			must(t, d.Log().DeleteRange(65, 70))
			closeDir(t, d)
			d = open(t, path, noCache)
			wantRange(t, d.Log(), 1, 64)
			wantEntry(t, d.Log(), entry(30, 700))
		})
	}
}

// A newer version of the format is no damage. The library would take the meta page of the older version, if there is
// one.
func TestANewerVersionOfTheFormat(t *testing.T) {
	for _, c := range []struct {
		name  string
		metas []int
		sum   bool // the checksum is made anew
	}{{"both meta pages", []int{0, 4096}, true}, {"the newer one", []int{0}, true}, {"a flipped bit", []int{0}, false}} {
		t.Run(c.name, func(t *testing.T) {
			path, content := usedLog(t)
			for _, at := range c.metas {
				m := content[at+pageHead : at+pageHead+metaSize]
				native.PutUint32(m[4:], boltVersion+1)
				if c.sum {
					sum := fnv.New64a()
					sum.Write(m[:metaSum])
					native.PutUint64(m[metaSum:], sum.Sum64())
				}
			}
			file := filepath.Join(path, logName)
			must(t, os.WriteFile(file, content, 0o600))
			_, err := Open(path, Options{Logger: quiet()})
			if !c.sum {
				wantErr(t, err, ErrCorrupt, file)
				return
			}
			wantErr(t, err, ErrNewerFormat, file, "version 3")
			if errors.Is(err, ErrCorrupt) {
				t.Errorf("damaged: %v", err)
			}
		})
	}
}
