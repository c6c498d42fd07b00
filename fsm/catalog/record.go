package catalog

import (
	"fmt"
	"reflect"

	"scaleout/fsm/command"
)

// Numbers of the records of a snapshot. A number never changes its meaning and is never used again.
const (
	recordMeta       = 1
	recordProperties = 2
	recordMasters    = 3
	recordWorkers    = 4
	recordFolders    = 5
	recordProjects   = 6
	recordVersions   = 7
	recordOperations = 8
	recordLive       = 9
	recordHistory    = 10
	recordPostings   = 11
	recordSegments   = 12
	recordRuns       = 13
	recordLibraryKey = 14
	recordChosenKey  = 15
	recordEvents     = 16
	recordFloor      = 17
	recordTallies    = 18
)

// recordType is what a Builder knows of the records with one number.
type recordType struct {
	number uint64
	level  int // a state below this feature level has no such record; 0 means 1
	add    func(*Builder, Record) error
}

// recordTypes are all records: those of the tables, and those of what stands outside of them.
func recordTypes() []recordType {
	list := []recordType{
		{number: recordLibraryKey, add: func(b *Builder, r Record) error { return b.key(b.state.keys.library, r) }},
		{number: recordChosenKey, add: func(b *Builder, r Record) error { return b.key(b.state.keys.chosen, r) }},
		{number: recordEvents, level: eventsFrom, add: (*Builder).events},
		{number: recordFloor, level: eventsFrom, add: (*Builder).floor},
	}
	for _, t := range tables {
		add := func(b *Builder, r Record) error { return b.row(t, r) }
		list = append(list, recordType{t.record, t.level, add})
	}
	return list
}

var recordsByNumber = func() map[uint64]recordType {
	m := map[uint64]recordType{}
	for _, t := range recordTypes() { // a test asks whether a number comes twice
		m[t.number] = t
	}
	return m
}()

// The feature levels of the fields of rows that go into a snapshot inside of others, or outside of tables.
var (
	executionFields = command.FieldLevelsOf(reflect.TypeFor[Execution]())
	eventFields     = command.FieldLevelsOf(reflect.TypeFor[Event]())
	answerFields    = command.FieldLevelsOf(reflect.TypeFor[KeyedAnswer]())
)

// allows returns an error that wraps command.ErrLevel when a state of the given feature level must not hold the row:
// there may be masters that cannot read it.
func (t *table) allows(row any, level int) error {
	if t.level > max(level, 1) {
		return fmt.Errorf("%w: table %s needs level %d, the state is at %d", command.ErrLevel, t.name, t.level, level)
	}
	if err := t.fields.Check(row, level); err != nil {
		return err
	}
	if r, ok := row.(*record); ok && executionFields.Above(level) {
		e, err := r.open()
		if err != nil {
			return err
		}
		return executionFields.Check(e, level)
	}
	return nil
}
