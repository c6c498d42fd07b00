package catalog

import (
	"errors"
	"testing"

	"scaleout/fsm/command"
)

func full(t testing.TB) *State {
	w := ready(t)
	for _, s := range []Status{Created, Pending, Running, Stopping, Canceled, Succeeded, Failed} {
		w.reach(s, 0)
	}
	w.ok(&command.AppendMessages{Segment: segmentA, Size: 10, Parts: []command.MessagePart{messagePart(4, 1, 0, 3, 0)}})
	w.keyed(ada, "chosen", true, folder("A"))
	w.keyed(ada, "library", false, folder("B"))
	w.ok(&command.Beat{Masters: []command.MasterBeat{{ID: "n1"}}})
	return w.s
}

func TestBuilderRefusesWhatTheStateCouldNotRead(t *testing.T) {
	var records []Record
	for r := range full(t).Snapshot().Records() {
		records = append(records, r)
	}
	build := func(list []Record) error {
		b := NewBuilder()
		for _, r := range list {
			if err := b.Add(r); err != nil {
				return err
			}
		}
		_, err := b.State(1)
		return err
	}
	if err := build(records); err != nil {
		t.Fatal(err)
	}
	encode := func(kind uint64, row any) Record {
		data, err := command.Marshal(row)
		must(err)
		return Record{kind, data}
	}
	for name, extra := range map[string]Record{
		"unknown type":       {Type: 99, Data: []byte{0xa0}},
		"undecodable":        {Type: tableFolders.record, Data: []byte{0xff}},
		"a row twice":        records[3],
		"the state twice":    records[0],
		"a damaged history":  encode(tableHistory.record, &record{ID: 900, Data: []byte{1}}),
		"another's history":  encode(tableHistory.record, &record{ID: 900, Data: newRecord(&Execution{ID: 901}).Data}),
		"a short posting":    encode(tablePostings.record, &posting{List: 9, N: 2, Last: 1, IDs: []byte{2}}),
		"an endless posting": encode(tablePostings.record, &posting{List: 9, N: 1, Last: 1, IDs: []byte{0xff}}),
		"runs that lie":      encode(tableRuns.record, &runs{OperationID: 900, N: 3, Data: []byte{1, 1, 1, 1, 1, 1}}),
		"a segment that lies": encode(tableSegments.record, &Segment{Digest: segmentB, Num: 90, Runs: 2,
			Refs: []byte{0, 1, 1}}),
		"a run that is missing": encode(tableSegments.record, &Segment{Digest: segmentB, Num: 90, Runs: 1,
			Refs: []byte{0, 99, 1}}),
		"a version":        encode(tableVersions.record, &Version{LSN: 90, PackageIDs: []int64{1}}),
		"a damaged answer": encode(recordChosenKey, &keyEntry{Answer: []byte{0xff}}),
	} {
		if err := build(append(records[:len(records):len(records)], extra)); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := build(records[1:]); !errors.Is(err, ErrRecord) {
		t.Errorf("without the state's own record: %v", err)
	}
}

// Whatever a record holds, it is refused, or everything that reads the state can live with it.
func FuzzBuilder(f *testing.F) {
	var own Record
	for r := range full(f).Snapshot().Records() {
		if r.Type == tableMeta.record {
			own = r
			continue
		}
		f.Add(r.Type, r.Data)
	}
	f.Fuzz(func(t *testing.T, kind uint64, data []byte) {
		b := NewBuilder()
		must(b.Add(own))
		if err := b.Add(Record{kind, data}); err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		s, err := b.State(1)
		if err != nil {
			return
		}
		r := s.Reader()
		for range r.Executions(false) {
		}
		for range r.Tasks() {
		}
		for range r.Unsuccessful(true) {
		}
		for seg := range r.Segments() {
			for run := range r.SegmentRuns(seg.Digest) {
				for range r.Runs(run.OperationID) {
				}
			}
		}
		hashOf(t, rebuilt(t, s))
	})
}
