package cluster

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

const bootstrapDocument = "bootstrap"

// founder is one master of a set that is to begin a cluster.
type founder struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
}

// founding is a proposal to begin a cluster with exactly these masters.
type founding struct {
	ID       string    `json:"id"`
	Proposer string    `json:"proposer"`
	Set      []founder `json:"set"`
	Since    time.Time `json:"since"`
}

func (f *founding) has(id string) bool {
	return slices.ContainsFunc(f.Set, func(m founder) bool { return m.ID == id })
}

func (f *founding) names() string {
	var names []string
	for _, m := range f.Set {
		names = append(names, m.Name+" ("+m.Address+")")
	}
	return strings.Join(names, ", ")
}

func (f *founding) configuration() raft.Configuration {
	var c raft.Configuration
	for _, m := range f.Set {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Address)})
	}
	return c
}

// ledger is what an empty node must not forget. A proposal of ours that is not in it any more is dead: it is written
// before anyone is asked, and taken out before any promise is handed back.
type ledger struct {
	Promise  *founding `json:"promise,omitempty"`  // the one proposal that we follow, our own or another's
	Proposal *founding `json:"proposal,omitempty"` // our own
	Decided  bool      `json:"decided,omitempty"`  // all have promised; it will be carried out
}

// What became of a proposal.
const (
	proposalOpen    = "open"
	proposalDecided = "decided"
	proposalDead    = "dead"
)

// bootstrap keeps the ledger.
type bootstrap struct {
	dir *store.Dir

	mu      sync.Mutex
	ledger  ledger
	waiting string
}

func loadBootstrap(dir *store.Dir) (*bootstrap, error) {
	b := &bootstrap{dir: dir}
	if _, err := dir.Load(bootstrapDocument, &b.ledger); err != nil {
		return nil, fmt.Errorf("what this master has promised: %w", err)
	}
	return b, nil
}

// save makes next durable, then true.
func (b *bootstrap) save(next ledger) error {
	if err := b.dir.Save(bootstrapDocument, next); err != nil {
		return fmt.Errorf("keep a promise: %w", err)
	}
	b.ledger = next
	return nil
}

func (b *bootstrap) current() ledger {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger
}

// begin makes f our proposal and our own promise.
func (b *bootstrap) begin(f *founding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ledger.Promise != nil {
		return fmt.Errorf("promised to %s already", b.ledger.Promise.Proposer)
	}
	return b.save(ledger{Promise: f, Proposal: f})
}

// promise follows another's proposal: one at a time.
func (b *bootstrap) promise(f *founding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.ledger.Promise; p != nil {
		if p.ID == f.ID {
			return nil
		}
		return fmt.Errorf("%w: it has promised to follow the proposal of %s", command.ErrRefused, p.Proposer)
	}
	return b.save(ledger{Promise: f})
}

// decide makes our proposal final.
func (b *bootstrap) decide(id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ledger.Proposal == nil || b.ledger.Proposal.ID != id {
		return errors.New("the proposal is dead")
	}
	next := b.ledger
	next.Decided = true
	return b.save(next)
}

// bury makes our undecided proposal dead; nil when there is none.
func (b *bootstrap) bury() (*founding, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.ledger.Proposal
	if f == nil || b.ledger.Decided {
		return nil, nil
	}
	return f, b.save(ledger{})
}

// release ends our promise to follow another's proposal. Only its proposer, or its answer to us, may cause that.
func (b *bootstrap) release(id, proposer string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.ledger.Promise
	if p == nil || p.ID != id || p.Proposer != proposer || b.ledger.Proposal != nil {
		return nil
	}
	return b.save(ledger{})
}

// fate is what became of a proposal of ours.
func (b *bootstrap) fate(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch p := b.ledger.Proposal; {
	case p == nil || p.ID != id:
		return proposalDead
	case b.ledger.Decided:
		return proposalDecided
	}
	return proposalOpen
}

// settle forgets promises that the cluster's existence has made good.
func (b *bootstrap) settle() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = ""
	if b.ledger.Promise == nil && b.ledger.Proposal == nil {
		return nil
	}
	return b.save(ledger{})
}

func (b *bootstrap) say(format string, a ...any) (changed bool) {
	s := fmt.Sprintf(format, a...)
	b.mu.Lock()
	defer b.mu.Unlock()
	changed = b.waiting != s
	b.waiting = s
	return changed
}

func (b *bootstrap) sentence() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}
