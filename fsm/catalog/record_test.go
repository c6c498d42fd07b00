package catalog

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"scaleout/fsm/command"
)

func TestRecordNumbersAreUnique(t *testing.T) {
	seen := map[uint64]bool{0: true}
	for _, r := range recordTypes() {
		if seen[r.number] {
			t.Errorf("the number %d of a record is 0 or comes twice", r.number)
		}
		seen[r.number] = true
	}
	if want := len(tables) + 4; len(seen)-1 != want {
		t.Errorf("%d numbers, want %d", len(seen)-1, want)
	}
	names := map[string]bool{}
	for i, table := range tables {
		if table.place != i || names[table.name] {
			t.Errorf("table %s: place %d, want %d and a name of its own", table.name, table.place, i)
		}
		names[table.name] = true
	}
}

// A row as a later version has it.
type newerRow struct {
	ID    int64  `cbor:"1,keyasint"`
	Color string `cbor:"2,keyasint,omitempty" level:"3"`
}

func TestRowsAndTablesHaveLevels(t *testing.T) {
	newer := &table{name: "newer", fields: command.FieldLevelsOf(reflect.TypeFor[newerRow]())}
	added := &table{name: "added", level: 3}
	for name, tt := range map[string]struct {
		table *table
		row   any
		level int
		want  string // "": allowed
	}{
		"field unset":    {newer, &newerRow{ID: 1}, 2, ""},
		"field too new":  {newer, &newerRow{1, "red"}, 2, "newerRow.Color"},
		"field":          {newer, &newerRow{1, "red"}, 3, ""},
		"table too new":  {added, &Folder{}, 2, "table added"},
		"table":          {added, &Folder{}, 3, ""},
		"before a level": {tableFolders, &Folder{}, 0, ""},
		"meta":           {tableMeta, &meta{Roster: &roster{}}, 1, "meta.Roster"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.table.allows(tt.row, tt.level)
			if tt.want == "" && err != nil {
				t.Error(err)
			}
			if tt.want != "" && (!errors.Is(err, command.ErrLevel) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want a refusal of %s", err, tt.want)
			}
		})
	}
}

// The state itself refuses such a row, whoever makes it: when it is written, and when a snapshot brings it.
func TestStateHoldsNothingAboveItsLevel(t *testing.T) {
	folders := tableFolders.level
	defer func() { tableFolders.level = folders }()
	tableFolders.level = 3
	stands := func(name string, f func()) {
		t.Helper()
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, command.ErrLevel) {
				t.Errorf("%s: %v", name, err)
			}
		}()
		f()
	}
	w := newMachine(t)
	stands("a row of a table of level 3", func() { w.do(&command.CreateFolder{Name: "F"}) })

	w = newMachine(t)
	stands("a field of the state of level 2", func() {
		w.do(&command.Announce{Leader: "n1", Members: []command.AnnouncedMember{{ID: "n1"}}})
	})

	encode := func(kind uint64, row any) Record {
		data, err := command.Marshal(row)
		must(err)
		return Record{kind, data}
	}
	own := encode(recordMeta, &meta{ClusterID: "c", Level: 1})
	for name, r := range map[string]Record{
		"the state itself": encode(recordMeta, &meta{ClusterID: "c", Level: 1, Roster: &roster{}}),
		"events":           encode(recordEvents, []Event{{ID: EventID{1, 0}}}),
		"floor":            encode(recordFloor, EventID{1, 0}),
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBuilder()
			if r.Type != recordMeta {
				must(b.Add(own))
			}
			if err := b.Add(r); !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), "needs") {
				t.Errorf("taken: %v", err)
			}
		})
	}
	tableFolders.level = folders
	b := NewBuilder()
	must(b.Add(encode(recordMeta, &meta{ClusterID: "c", Level: 2, Roster: &roster{}})))
	must(b.Add(encode(recordEvents, []Event{{ID: EventID{1, 0}}})))
}
