package catalog

import (
	"encoding/binary"
	"math"
	"slices"

	"scaleout/fsm/command"
)

// postingSize is how many execution ids a posting row holds at most. A row of go-memdb costs hundreds of bytes, an id
// in a posting two or three.
const postingSize = 512

// The lists of postings. Ended and unsuccessful ones are in the order of end times, a project's by id.
const (
	listEnded        = 1
	listUnsuccessful = 2
	listProject      = 3
)

// posting is a run of execution ids of one list. Rows of a list are ordered by Low: in a list by id, every id of the
// row is at least Low; in a list by end time, Low counts rows.
type posting struct {
	List int64        `cbor:"1,keyasint"`
	Of   int64        `cbor:"2,keyasint"` // the project; else 0
	Low  int64        `cbor:"3,keyasint"`
	N    int          `cbor:"4,keyasint"`
	Last int64        `cbor:"5,keyasint"` // the last id of IDs
	To   command.Time `cbor:"6,keyasint"` // end time of the execution added last
	IDs  []byte       `cbor:"7,keyasint"` // differences between neighbours, as varints
}

func (p *posting) ids() []int64 {
	ids := make([]int64, 0, p.N)
	at := int64(0)
	for b := p.IDs; len(b) > 0; {
		d, n := binary.Varint(b)
		if n <= 0 {
			break // refused at restore; nothing else writes one
		}
		at += d
		ids = append(ids, at)
		b = b[n:]
	}
	return ids
}

// with returns a copy of the row with other ids.
func (p *posting) with(low int64, ids []int64) *posting {
	q := &posting{List: p.List, Of: p.Of, Low: low, N: len(ids), To: p.To}
	for _, id := range ids {
		q.IDs = binary.AppendVarint(q.IDs, id-q.Last)
		q.Last = id
	}
	return q
}

func (p *posting) appended(id int64, to command.Time) *posting {
	q := *p
	q.IDs = binary.AppendVarint(slices.Clip(p.IDs), id-p.Last)
	q.Last, q.N, q.To = id, p.N+1, to
	return &q
}

// enlist adds an execution that has ended to the lists. An edit changes each list at most once.
func (e *edit) enlist(r *Reader, x *Execution) {
	e.enlistByTime(r, listEnded, x)
	if x.Status != Succeeded {
		e.enlistByTime(r, listUnsuccessful, x)
	}
	p := floor[*posting](r, tablePostings, key(listProject, x.ProjectID, x.ID))
	if p == nil || p.List != listProject || p.Of != x.ProjectID {
		p = &posting{List: listProject, Of: x.ProjectID}
		e.add(tablePostings, p.appended(x.ID, x.Ended))
		return
	}
	switch {
	case x.ID > p.Last && p.N < postingSize:
		e.replace(tablePostings, p.appended(x.ID, x.Ended))
	case x.ID > p.Last: // the usual end of a full row: leave it full
		e.add(tablePostings, (&posting{List: listProject, Of: x.ProjectID, Low: x.ID}).appended(x.ID, x.Ended))
	default:
		ids := p.ids()
		at, _ := slices.BinarySearch(ids, x.ID)
		ids = slices.Insert(ids, at, x.ID)
		if len(ids) > postingSize {
			half := len(ids) / 2
			e.add(tablePostings, p.with(ids[half], ids[half:]))
			ids = ids[:half]
		}
		e.replace(tablePostings, p.with(p.Low, ids))
	}
}

func (e *edit) enlistByTime(r *Reader, list int64, x *Execution) {
	p := floor[*posting](r, tablePostings, key(list, 0, math.MaxInt64))
	switch {
	case p == nil || p.List != list:
		e.add(tablePostings, (&posting{List: list, Low: 1}).appended(x.ID, x.Ended))
	case p.N < postingSize:
		e.replace(tablePostings, p.appended(x.ID, x.Ended))
	default:
		e.add(tablePostings, (&posting{List: list, Low: p.Low + 1}).appended(x.ID, x.Ended))
	}
}

// delist takes an execution out of the lists.
func (e *edit) delist(r *Reader, x *Execution) {
	drop := func(p *posting) bool {
		ids := p.ids()
		at := slices.Index(ids, x.ID)
		switch {
		case at < 0:
			return false
		case len(ids) == 1:
			e.remove(tablePostings, p)
		default:
			e.replace(tablePostings, p.with(p.Low, slices.Delete(ids, at, at+1)))
		}
		return true
	}
	// Cleanup removes in the order of end times, so that the first row of such a list is the one.
	lists := []int64{listEnded, listUnsuccessful}
	if x.Status == Succeeded {
		lists = lists[:1]
	}
	for _, list := range lists {
		for p := range rowsBy[*posting](r, tablePostings, byID, key(list, 0), false) {
			if drop(p) {
				break
			}
		}
	}
	if p := floor[*posting](r, tablePostings, key(listProject, x.ProjectID, x.ID)); p != nil && p.List == listProject &&
		p.Of == x.ProjectID {
		drop(p)
	}
}
