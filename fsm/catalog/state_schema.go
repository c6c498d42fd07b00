package catalog

import (
	"encoding/binary"
	"errors"
	"reflect"

	"github.com/hashicorp/go-memdb"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// table is one kind of rows. A row's key orders it in its table and in a snapshot; the other indexes are unique too,
// since each ends in the key: that keeps lookups to one walk of the tree.
type table struct {
	name    string
	record  uint64 // the type of its records in a snapshot
	level   int    // the table is empty below this feature level; 0 means 1
	empty   func() any
	key     func(row any) []byte
	indexes map[string]func(row any) []byte // nil: the row is not in the index

	place  int                 // in tables
	fields command.FieldLevels // of its rows
}

// The indexes.
const (
	byID      = "id"
	byName    = "name"
	byProject = "project"
	byBlob    = "blob"
	byStatus  = "status"
	byHolder  = "holder"
	byDigest  = "digest"
)

func rowKey[T any](f func(*T) []byte) func(any) []byte {
	return func(row any) []byte { return f(row.(*T)) }
}

func integerKey[T any](f func(*T) int64) func(any) []byte {
	return func(row any) []byte { return key(f(row.(*T))) }
}

func fresh[T any]() any { return new(T) }

// Tables, in the order of their records in a snapshot and in the hash.
var (
	tableMeta = &table{name: "meta", record: recordMeta, empty: fresh[meta],
		key: rowKey(func(*meta) []byte { return []byte{0} })}
	tableProperties = &table{name: "properties", record: recordProperties, empty: fresh[property],
		key: rowKey(func(p *property) []byte { return []byte(p.Name) })}
	tableMasters = &table{name: "masters", record: recordMasters, empty: fresh[command.MasterBeat],
		key: rowKey(func(m *command.MasterBeat) []byte { return []byte(m.ID) })}
	tableWorkers = &table{name: "workers", record: recordWorkers, empty: fresh[Worker],
		key: rowKey(func(w *Worker) []byte { return []byte(sqltype.Fold(w.ID)) })}
	tableFolders = &table{name: "folders", record: recordFolders, empty: fresh[Folder],
		key: integerKey(func(f *Folder) int64 { return f.ID }),
		indexes: map[string]func(any) []byte{
			byName: rowKey(func(f *Folder) []byte { return []byte(sqltype.Fold(f.Name)) })}}
	tableProjects = &table{name: "projects", record: recordProjects, empty: fresh[Project],
		key: integerKey(func(p *Project) int64 { return p.ID }),
		indexes: map[string]func(any) []byte{
			byName: rowKey(func(p *Project) []byte { return append(key(p.FolderID), sqltype.Fold(p.Name)...) })}}
	tableVersions = &table{name: "versions", record: recordVersions, empty: fresh[Version],
		key: integerKey(func(v *Version) int64 { return v.LSN }),
		indexes: map[string]func(any) []byte{
			byProject: rowKey(func(v *Version) []byte { return key(v.ProjectID, v.LSN) }),
			byBlob:    rowKey(func(v *Version) []byte { return append([]byte(v.Blob+"\x00"), key(v.LSN)...) })}}
	tableOperations = &table{name: "operations", record: recordOperations, empty: fresh[Operation],
		key: integerKey(func(o *Operation) int64 { return o.ID })}
	tableLive = &table{name: "live", record: recordLive, empty: fresh[Execution],
		key: integerKey(func(e *Execution) int64 { return e.ID }),
		indexes: map[string]func(any) []byte{
			byStatus:  rowKey(func(e *Execution) []byte { return key(int64(e.Status), e.ID) }),
			byProject: rowKey(func(e *Execution) []byte { return key(e.ProjectID, e.ID) }),
			byHolder: rowKey(func(e *Execution) []byte {
				if a := e.current(); a != nil && a.Held() {
					return holderKey(a.Worker, e.ID)
				}
				return nil
			})}}
	tableHistory = &table{name: "history", record: recordHistory, empty: fresh[record],
		key: integerKey(func(r *record) int64 { return r.ID })}
	tablePostings = &table{name: "postings", record: recordPostings, empty: fresh[posting],
		key: rowKey(func(p *posting) []byte { return key(p.List, p.Of, p.Low) })}
	tableSegments = &table{name: "segments", record: recordSegments, empty: fresh[Segment],
		key: integerKey(func(s *Segment) int64 { return s.Num }),
		indexes: map[string]func(any) []byte{
			byDigest: rowKey(func(s *Segment) []byte { return []byte(s.Digest) })}}
	tableRuns = &table{name: "runs", record: recordRuns, empty: fresh[runs],
		key: rowKey(func(r *runs) []byte { return key(r.OperationID, r.First) })}
	tableTallies = &table{name: "tallies", record: recordTallies, empty: fresh[Tally],
		key: rowKey(func(t *Tally) []byte { return tallyKey(t.Folder, t.Project, t.Package) })}
)

// tables is every table.
var tables = []*table{
	tableMeta, tableProperties, tableMasters, tableWorkers, tableFolders, tableProjects, tableVersions, tableOperations,
	tableLive, tableHistory, tablePostings, tableSegments, tableRuns, tableTallies,
}

func init() {
	for i, t := range tables {
		t.place, t.fields = i, command.FieldLevelsOf(reflect.TypeOf(t.empty()))
	}
}

// key writes numbers so that bytes order like them.
func key(ns ...int64) []byte {
	b := make([]byte, 0, 8*len(ns))
	for _, n := range ns {
		b = binary.BigEndian.AppendUint64(b, uint64(n)^1<<63)
	}
	return b
}

func holderKey(worker string, id int64) []byte {
	return append([]byte(sqltype.Fold(worker)+"\x00"), key(id)...)
}

// indexer makes an index of go-memdb from a key function; lookups pass finished keys.
type indexer func(row any) []byte

func (x indexer) FromObject(row any) (bool, []byte, error) {
	k := x(row)
	return k != nil, k, nil
}

func (x indexer) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 1 {
		if k, ok := args[0].([]byte); ok {
			return k, nil
		}
	}
	return nil, errors.New("an index is looked up by one finished key")
}

func (x indexer) PrefixFromArgs(args ...any) ([]byte, error) { return x.FromArgs(args...) }

// newDatabase makes an empty database. It is a snapshot of a primary one on purpose: a primary database tracks every
// node that a transaction touches, for watches that nobody uses, and beyond 8,192 touched nodes of an index a commit
// compares whole trees, which takes seconds at a million rows.
func newDatabase() *memdb.MemDB {
	schema := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, t := range tables {
		ts := &memdb.TableSchema{Name: t.name, Indexes: map[string]*memdb.IndexSchema{
			byID: {Name: byID, Unique: true, Indexer: indexer(t.key)},
		}}
		for name, f := range t.indexes {
			ts.Indexes[name] = &memdb.IndexSchema{Name: name, Unique: true, AllowMissing: true, Indexer: indexer(f)}
		}
		schema.Tables[t.name] = ts
	}
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		panic(err) // the schema is constant
	}
	return db.Snapshot()
}
