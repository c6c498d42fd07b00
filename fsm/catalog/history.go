package catalog

import (
	"fmt"

	"scaleout/fsm/command"
)

// record is an execution that has ended: its whole row, encoded. It becomes one in the command that ends it, so that
// memory holds rows with indexes for work in progress only. One index by id; other orders are postings.
type record struct {
	ID   int64  `cbor:"1,keyasint"`
	Data []byte `cbor:"2,keyasint"`
}

func newRecord(e *Execution) *record {
	b, err := command.Marshal(e)
	must(err)
	return &record{e.ID, b}
}

func (r *record) open() (*Execution, error) {
	e := &Execution{}
	if err := command.Unmarshal(r.Data, e); err != nil {
		return nil, fmt.Errorf("history of execution %d: %w", r.ID, err)
	}
	return e, nil
}

// execution decodes a record that the state holds: one that this version wrote, or that a restore has checked.
func (r *record) execution() *Execution {
	e, err := r.open()
	must(err)
	return e
}

// current is the attempt granted last, nil if there was none.
func (e *Execution) current() *Attempt {
	if len(e.Attempts) == 0 {
		return nil
	}
	return &e.Attempts[len(e.Attempts)-1]
}

// attempt finds an attempt by its number.
func (e *Execution) attempt(number int) *Attempt {
	for i := len(e.Attempts) - 1; i >= 0; i-- {
		if e.Attempts[i].Number == number {
			return &e.Attempts[i]
		}
	}
	return nil
}

// HasEnded reports whether nothing about the status will change any more.
func (s Status) HasEnded() bool {
	switch s {
	case Canceled, Failed, EndedUnexpectedly, Succeeded, Completed:
		return true
	}
	return false
}
