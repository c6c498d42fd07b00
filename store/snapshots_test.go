package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"scaleout/store/file"
)

// snapshotOf writes a snapshot up to a place in the log. Its content names the place, as the state machine's does.
func snapshotOf(t *testing.T, d *Dir, index, term uint64) (id string, err error) {
	t.Helper()
	members := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "b:1"}}}
	k, err := d.Snapshots().Create(1, index, term, members, 1, nil)
	must(t, err)
	at, in := k.(interface{ Position() (index, term uint64) }).Position()
	_, err = io.WriteString(k, strings.Repeat("x", int(at*10+in)))
	must(t, err)
	return k.ID(), k.Close()
}

// ofPlace checks such a content as the state machine would.
func ofPlace(content io.Reader, index, term uint64) error {
	raw, err := io.ReadAll(content)
	if err == nil && uint64(len(raw)) != index*10+term {
		err = errors.New("the content is of another place")
	}
	return err
}

func TestSnapshotsThatContradictThemselves(t *testing.T) {
	swap := func(name string) func(t *testing.T, old, new string) {
		return func(t *testing.T, old, new string) {
			raw, err := os.ReadFile(filepath.Join(old, name))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(new, name), raw, 0o600))
		}
	}
	rename := func(to string) func(t *testing.T, old, new string) {
		return func(t *testing.T, old, new string) { must(t, os.Rename(new, filepath.Join(filepath.Dir(new), to))) }
	}
	both := func(t *testing.T, old, new string) {
		swap(snapshotMeta)(t, old, new)
		swap(snapshotState)(t, old, new)
	}
	without := func(name string) func(t *testing.T, old, new string) {
		return func(t *testing.T, _, new string) { must(t, os.Remove(filepath.Join(new, name))) }
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, old, new string)
		says   string
	}{
		"the description of another one":         {swap(snapshotMeta), "its directory is named"},
		"the content of another one":             {swap(snapshotState), "checksum"},
		"description and content of another one": {both, "its directory is named"},
		"another index in its name":              {rename("3-21-1"), "its directory is named"},
		"another term in its name":               {rename("4-20-1"), "its directory is named"},
		"no description":                         {without(snapshotMeta), "missing"},
		"no content":                             {without(snapshotState), "missing"},
		"a whole description of another content, up": {func(t *testing.T, _, n string) {
			redescribe(t, n, func(d *snapshotDocument) { d.Index++ })
		}, "its directory is named"},
		"a whole description and name of another place": {func(t *testing.T, _, n string) {
			to := filepath.Join(filepath.Dir(n), "3-21-7")
			must(t, os.Rename(n, to))
			redescribe(t, to, func(d *snapshotDocument) { d.Index, d.ID = 21, "3-21-7" })
		}, "of another place"},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			checked := func(o *Options) { o.CheckSnapshot = ofPlace }
			d := open(t, path, checked)
			older, err := snapshotOf(t, d, 10, 3)
			must(t, err)
			newer, err := snapshotOf(t, d, 20, 3)
			must(t, err)
			closeDir(t, d)
			c.damage(t, filepath.Join(path, snapshotsName, older), filepath.Join(path, snapshotsName, newer))
			_, err = Open(path, Options{Logger: quiet(), CheckSnapshot: ofPlace})
			wantErr(t, err, ErrCorrupt, c.says, "new node")

			// With the entries in between, the older snapshot stands in, and the damaged one is not listed.
			must(t, os.RemoveAll(filepath.Join(path, snapshotsName)))
			must(t, os.Mkdir(filepath.Join(path, snapshotsName), 0o700))
			d = open(t, path, checked)
			must(t, d.Log().StoreLogs(entries(1, 30, 10)))
			older, err = snapshotOf(t, d, 10, 3)
			must(t, err)
			newer, err = snapshotOf(t, d, 20, 3)
			must(t, err)
			closeDir(t, d)
			c.damage(t, filepath.Join(path, snapshotsName, older), filepath.Join(path, snapshotsName, newer))
			d = open(t, path, checked)
			list, err := d.Snapshots().List()
			must(t, err)
			if len(list) != 1 || list[0].ID != older {
				t.Errorf("listed: %+v", list)
			}
			// The next one replaces both.
			last, err := snapshotOf(t, d, 30, 3)
			must(t, err)
			if list, err = d.Snapshots().List(); err != nil || len(list) != 2 || list[0].ID != last || list[1].ID != older {
				t.Errorf("listed: %+v, %v", list, err)
			}
		})
	}
}

// redescribe changes a description and gives it the right checksum.
func redescribe(t *testing.T, snapshot string, change func(*snapshotDocument)) {
	t.Helper()
	var d snapshotDocument
	path := filepath.Join(snapshot, snapshotMeta)
	_, err := readDocument(path, &d)
	must(t, err)
	change(&d)
	must(t, writeDocument(path, d))
}

// A snapshot whose Close failed is not there, unless nobody can know even that.
func TestASnapshotWhoseNameIsNotDurable(t *testing.T) {
	broken := errors.New("input/output error (injected)")
	for name, c := range map[string]struct {
		fails int
		there bool
	}{"once": {1, false}, "for ever": {100, true}} {
		t.Run(name, func(t *testing.T) {
			d := open(t, t.TempDir())
			left := c.fails
			d.snapshots.sync = func(dir string) error {
				if left--; left >= 0 {
					return broken
				}
				return file.SyncDir(dir)
			}
			_, err := snapshotOf(t, d, 5, 1)
			wantErr(t, err, broken, snapshotsName)
			list, err := d.Snapshots().List()
			must(t, err)
			if there := len(list) == 1; there != c.there {
				t.Errorf("there %v, want %v", there, c.there)
			}
			names, err := os.ReadDir(filepath.Join(d.Path(), snapshotsName))
			must(t, err)
			if len(names) != len(list) {
				t.Errorf("left over: %v", names)
			}
		})
	}
}
