package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// forged is an archive that some other program has made, with checksums that fit.
type forged struct {
	t    *testing.T
	out  bytes.Buffer
	sums strings.Builder
}

// add appends an entry as this package would write it.
func (f *forged) add(name, content string) *forged {
	head := header(Entry{name, int64(len(content))}, taken.Unix())
	f.out.Write(head[:])
	f.out.WriteString(content)
	f.out.Write(make([]byte, padding(int64(len(content)))))
	f.sums.WriteString(digest(content) + "  " + name + "\n")
	return f
}

// tar appends an entry as archive/tar writes it.
func (f *forged) tar(h tar.Header, content string) *forged {
	f.t.Helper()
	h.Size, h.ModTime, h.Mode = int64(len(content)), taken, 0o600
	w := tar.NewWriter(&f.out)
	if err := w.WriteHeader(&h); err != nil {
		f.t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		f.t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		f.t.Fatal(err)
	}
	f.sums.WriteString(digest(content) + "  " + h.Name + "\n")
	return f
}

// announce appends the header of an entry that the file is too short for.
func (f *forged) announce(name string, size int64) *forged {
	head := header(Entry{name, size}, taken.Unix())
	f.out.Write(head[:])
	return f
}

func (f *forged) end() *forged {
	f.add(NameSums, f.sums.String())
	f.out.Write(make([]byte, 2*blockSize))
	return f
}

// change makes a forged archive from what every archive begins with.
type change = func(f *forged) *forged

func TestHostileArchives(t *testing.T) {
	about := func(change func(m *Metadata)) string {
		m := metadata()
		m.Format, m.KeyRing = Format, false
		change(&m)
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	plain := about(func(*Metadata) {})
	locked := about(func(m *Metadata) { m.KeyRing = true })
	bare := about(func(m *Metadata) { m.Blobs = false })
	later := about(func(m *Metadata) { m.Created = m.Created.AddDate(1, 0, 0) })
	low, high, lowText, highText := BlobFolder+digest("a"), BlobFolder+digest("bc"), "a", "bc"
	if low > high {
		low, high, lowText, highText = high, low, highText, lowText
	}
	begin := func(f *forged) *forged { return f.add(NameMetadata, plain).add(NameState, "s") }
	entries := func(name, content, name2, content2 string) change {
		return func(f *forged) *forged { return begin(f).add(name, content).add(name2, content2).end() }
	}
	entry := func(name, content string) change {
		return func(f *forged) *forged { return begin(f).add(name, content).end() }
	}
	foreign := func(h tar.Header, content string) change {
		return func(f *forged) *forged { return begin(f).tar(h, content).end() }
	}
	large := func(name string, size int64) change {
		return func(f *forged) *forged { return begin(f).announce(name, size) }
	}
	sums := func(change func(sums string) string) change {
		return func(f *forged) *forged {
			text := change(begin(f).sums.String())
			f.sums.Reset()
			f.sums.WriteString(text)
			return f.end()
		}
	}
	// header changes the last header, that of a large blob.
	header := func(at int, bytes ...byte) change {
		return func(f *forged) *forged {
			begin(f).announce(low, 1<<40)
			copy(f.out.Bytes()[f.out.Len()-blockSize+at:], bytes)
			return f
		}
	}
	for name, forge := range map[string]change{
		"no metadata": func(f *forged) *forged { return f.add(NameState, "s").end() },
		"metadata twice": func(f *forged) *forged {
			return f.add(NameMetadata, plain).add(NameMetadata, plain).add(NameState, "s").end()
		},
		"metadata that are no JSON": func(f *forged) *forged { return f.add(NameMetadata, "{").add(NameState, "s").end() },
		"metadata of another time":  func(f *forged) *forged { return f.add(NameMetadata, later).add(NameState, "s").end() },
		"giant metadata":            func(f *forged) *forged { return f.announce(NameMetadata, maxMetadata+1) },

		"a key ring that is not expected": func(f *forged) *forged {
			return f.add(NameMetadata, plain).add(NameKeyRing, "{}").add(NameState, "s").end()
		},
		"a key ring that is not there": func(f *forged) *forged {
			return f.add(NameMetadata, locked).add(NameState, "s").end()
		},
		"a giant key ring": func(f *forged) *forged {
			return f.add(NameMetadata, locked).announce(NameKeyRing, maxKeyRing+1)
		},

		"no state":              func(f *forged) *forged { return f.add(NameMetadata, plain).end() },
		"no state before blobs": func(f *forged) *forged { return f.add(NameMetadata, plain).add(low, lowText).end() },
		"two states":            entry(NameState, "s"),
		"a giant state": func(f *forged) *forged {
			return f.add(NameMetadata, plain).announce(NameState, maxEntry+1)
		},
		"a large state, cut off": func(f *forged) *forged { return f.add(NameMetadata, plain).announce(NameState, maxEntry) },

		"blobs that are not expected": func(f *forged) *forged {
			return f.add(NameMetadata, bare).add(NameState, "s").add(low, lowText).end()
		},
		"a blob twice":                   entries(low, lowText, low, lowText),
		"blobs in another order":         entries(high, highText, low, lowText),
		"a blob with another's content":  entry(low, highText),
		"a blob behind the missing ones": entries(NameMissing, gone+"\n", low, lowText),
		"a blob of the largest size":     large(low, 1<<63-1),
		"a blob of a negative size":      header(124, bytes.Repeat([]byte{0xff}, 12)...),

		"an upper-case digest": entry(strings.ToUpper(low), lowText),
		"a path":               entry("../../etc/passwd", "x"),
		"a path in the blobs":  entry(BlobFolder+"../state", "x"),
		"an absolute path":     entry("/etc/passwd", "x"),
		"a name with ./":       entry("./"+NameMissing, gone+"\n"),
		"an empty name":        entry("", "x"),
		"a long name":          foreign(tar.Header{Name: strings.Repeat("n", 300), Typeflag: tar.TypeReg}, "x"),

		"missing blobs in no list":  entry(NameMissing, "all"),
		"an empty list of missing":  entry(NameMissing, ""),
		"missing blobs without end": entry(NameMissing, gone),
		"a giant list of missing":   large(NameMissing, maxMissing+1),
		"a long list, cut off":      large(NameMissing, maxMissing),

		"no sums":                  func(f *forged) *forged { begin(f).out.Write(make([]byte, 2*blockSize)); return f },
		"sums without an entry":    sums(func(s string) string { _, rest, _ := strings.Cut(s, "\n"); return rest }),
		"sums of one more entry":   sums(func(s string) string { return s + gone + "  more\n" }),
		"sums with CRLF":           sums(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }),
		"sums of another size":     large(NameSums, maxEntry),
		"an entry behind the sums": func(f *forged) *forged { return begin(f).end().add(low, lowText) },

		"a symbolic link": foreign(tar.Header{Name: low, Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""),
		"a hard link":     foreign(tar.Header{Name: low, Typeflag: tar.TypeLink, Linkname: NameState}, ""),
		"a folder":        foreign(tar.Header{Name: BlobFolder, Typeflag: tar.TypeDir}, ""),
		"a device":        foreign(tar.Header{Name: low, Typeflag: tar.TypeChar, Devmajor: 1}, ""),
		"an owner":        foreign(tar.Header{Name: low, Typeflag: tar.TypeReg, Uid: 1}, lowText),
		"GNU's variant":   foreign(tar.Header{Name: low, Typeflag: tar.TypeReg, Format: tar.FormatGNU}, lowText),
		"a PAX header":    foreign(tar.Header{Name: low, PAXRecords: map[string]string{"comment": "x"}}, lowText),
		"a sparse file":   header(156, 'S'),
	} {
		t.Run(name, func(t *testing.T) {
			file := forge(&forged{t: t}).out.Bytes()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Verify(bytes.NewReader(file))
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("read with %v", err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 8*bufferSize {
				t.Errorf("reading a file of %d bytes took %d bytes of memory", len(file), took)
			}
		})
	}
	good := begin(&forged{t: t}).add(low, lowText).add(high, highText).add(NameMissing, gone+"\n").end().out.Bytes()
	if _, err := Verify(bytes.NewReader(good)); err != nil {
		t.Error("the archive from which the others are made is refused itself:", err)
	}
}

func FuzzRead(f *testing.F) {
	good := sample(f, "a", "bc")
	f.Add(good)
	f.Add(good[:blockSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Read(bytes.NewReader(b), func(e Entry, r io.Reader) error {
			n, err := io.Copy(io.Discard, r)
			if err == nil && n != e.Size {
				t.Errorf("%s has %d bytes of %d", e.Name, n, e.Size)
			}
			return err
		})
		switch {
		case err == nil && int64(len(b)) < int64(got.Entries)*blockSize:
			t.Errorf("%d entries in %d bytes", got.Entries, len(b))
		case err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerFormat):
			t.Fatal(err)
		}
	})
}

// FuzzEntries forges archives whose headers and checksums fit. Read accepts those of them whose entries are in order.
func FuzzEntries(f *testing.F) {
	m := metadata()
	m.Format = Format
	raw, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	blobs := []string{"a", "bc"}
	slices.SortFunc(blobs, func(a, b string) int { return strings.Compare(digest(a), digest(b)) })
	entries := []struct{ name, content string }{
		{NameMetadata, string(raw)}, {NameKeyRing, "{}"}, {NameState, "s"}, {BlobFolder + digest(blobs[0]), blobs[0]},
		{BlobFolder + digest(blobs[1]), blobs[1]}, {NameMissing, gone + "\n"},
		// These are never accepted.
		{BlobFolder + gone, "x"}, {NameMissing, "x"}, {NameSums, ""}, {BlobFolder, ""}, {"../state", "s"}, {"", ""},
	}
	const good = 6
	f.Add([]byte{0, 1, 2, 3, 4, 5}, true)
	f.Add([]byte{0, 1, 2, 4, 3}, true)
	f.Add([]byte{0, 1, 2, 3, 3}, true)
	f.Add([]byte{0, 1, 2, 8}, false)
	f.Fuzz(func(t *testing.T, list []byte, ended bool) {
		archive := forged{t: t}
		for i := range list {
			list[i] %= byte(len(entries))
		}
		want := ended && bytes.HasPrefix(list, []byte{0, 1, 2})
		for i, n := range list {
			e := entries[n]
			archive.add(e.name, e.content)
			want = want && n < good && (i == 0 || n > list[i-1])
		}
		if ended {
			archive.end()
		}
		if _, err := Verify(&archive.out); want != (err == nil) {
			t.Errorf("entries %v, ended %v: %v", list, ended, err)
		}
	})
}

// What a reader accepts is what the writer writes: headers have one form.
func FuzzHeader(f *testing.F) {
	good := header(Entry{BlobFolder + gone, 1 << 20}, taken.Unix())
	f.Add(good[:])
	large := header(Entry{NameState, maxEntry}, 0)
	f.Add(large[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != blockSize {
			return
		}
		block := [blockSize]byte(b)
		e, modTime, err := parseHeader(block)
		if err == nil && (header(e, modTime) != block || e.Size < 0) {
			t.Errorf("%+v is accepted", e)
		}
	})
}
