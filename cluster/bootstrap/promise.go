package bootstrap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
	"scaleout/store"
)

// document is the name under which the data directory keeps what this package must not forget.
const document = "bootstrap"

// member is one master of the set that is to begin a cluster.
type member struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
}

// proposal is a proposal to begin a cluster with exactly these masters.
type proposal struct {
	ID       string    `json:"id"`
	Proposer string    `json:"proposer"`
	Set      []member  `json:"set"`
	Since    time.Time `json:"since"`
}

func (p *proposal) has(id string) bool {
	return slices.ContainsFunc(p.Set, func(m member) bool { return m.ID == id })
}

func (p *proposal) names() string {
	var names []string
	for _, m := range p.Set {
		names = append(names, m.Name+" ("+m.Address+")")
	}
	return strings.Join(names, ", ")
}

func (p *proposal) configuration() raft.Configuration {
	var c raft.Configuration
	for _, m := range p.Set {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Address)})
	}
	return c
}

// promises is what an empty master must not forget, and a proposer ever. A proposal of its own is written before any
// other master is asked, and taken out before any promise is handed back: so a proposal of its own that is not in here
// any more is dead. One that was carried out stays in here by its id: a master of the set may have been away, and asks.
type promises struct {
	Promise  *proposal `json:"promise,omitempty"`  // the one proposal that this master follows, its own or another's
	Proposal *proposal `json:"proposal,omitempty"` // this master's own
	Decided  bool      `json:"decided,omitempty"`  // all have promised; the own proposal will be carried out
	Begun    string    `json:"begun,omitempty"`    // id of the own proposal that was carried out
}

// The outcomes of a proposal.
const (
	outcomeOpen    = "open"
	outcomeDecided = "decided"
	outcomeBegun   = "begun" // the cluster exists
	outcomeDead    = "dead"
)

// promiseStore keeps the promises of this master in its data directory.
type promiseStore struct {
	dir *store.Dir

	mu      sync.Mutex
	durable promises
}

func openPromises(dir *store.Dir) (*promiseStore, error) {
	s := &promiseStore{dir: dir}
	if _, err := dir.Load(document, &s.durable); err != nil {
		return nil, fmt.Errorf("what this master has promised: %w", err)
	}
	return s, nil
}

// save writes next to the data directory; only then does it count.
func (s *promiseStore) save(next promises) error {
	if err := s.dir.Save(document, next); err != nil {
		return fmt.Errorf("keep a promise: %w", err)
	}
	s.durable = next
	return nil
}

func (s *promiseStore) current() promises {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable
}

// begin makes p this master's proposal, and promises to follow it.
func (s *promiseStore) begin(p *proposal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.durable.Promise != nil {
		return fmt.Errorf("promised to %s already", s.durable.Promise.Proposer)
	}
	return s.save(promises{Promise: p, Proposal: p})
}

// promise promises to follow another master's proposal. A master follows one proposal at a time.
func (s *promiseStore) promise(p *proposal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.durable.Promise; have != nil {
		if have.ID == p.ID {
			return nil
		}
		return fmt.Errorf("%w: it has promised to follow the proposal of %s", command.ErrRefused, have.Proposer)
	}
	return s.save(promises{Promise: p})
}

// decide makes this master's proposal final.
func (s *promiseStore) decide(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.durable.Proposal == nil || s.durable.Proposal.ID != id {
		return errors.New("the proposal is dead")
	}
	next := s.durable
	next.Decided = true
	return s.save(next)
}

// abandon makes this master's undecided proposal dead and returns it, or nil if there is none.
func (s *promiseStore) abandon() (*proposal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.durable.Proposal
	if p == nil || s.durable.Decided {
		return nil, nil
	}
	return p, s.save(promises{})
}

// release ends the promise to follow another master's proposal. Only that proposer may cause it, by a call of its own
// or by its answer to a call of this master.
func (s *promiseStore) release(id, proposer string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.durable.Promise
	if p == nil || p.ID != id || p.Proposer != proposer || s.durable.Proposal != nil {
		return nil
	}
	return s.save(promises{})
}

// outcome is what became of a proposal of this master.
func (s *promiseStore) outcome(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p := s.durable.Proposal; {
	case id != "" && s.durable.Begun == id:
		return outcomeBegun
	case p == nil || p.ID != id:
		return outcomeDead
	case s.durable.Decided:
		return outcomeDecided
	}
	return outcomeOpen
}

// settle forgets the promises once this master has a log: they are kept. The id of an own proposal that was carried out
// remains.
func (s *promiseStore) settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.durable.Promise == nil && s.durable.Proposal == nil {
		return nil
	}
	next := promises{Begun: s.durable.Begun}
	if s.durable.Decided {
		next.Begun = s.durable.Proposal.ID
	}
	return s.save(next)
}
