package transport

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipeline passes the library's pipelined answers on and notes them on the way.
//
// It also undoes a deadlock of the library (hashicorp/raft#612): after an answer that says no, Raft reads no more
// answers, but its sender may send on for a while. The connection's reader then waits for Raft to take an answer, the
// sender waits for that reader, and Close, which would end both, comes after the sender. The follower gets no entry
// again for as long as this node leads, while heartbeats keep it quiet, and Raft cannot be shut down.
type pipeline struct {
	inner  raft.AppendPipeline
	out    chan raft.AppendFuture
	done   chan struct{}
	once   sync.Once
	ended  chan struct{}
	broken chan struct{} // closed when Raft has got its last answer
}

func newPipeline(r *Raft, id raft.ServerID, inner raft.AppendPipeline) *pipeline {
	p := &pipeline{inner: inner, out: make(chan raft.AppendFuture), done: make(chan struct{}), ended: make(chan struct{}),
		broken: make(chan struct{})}
	go p.pass(r, id)
	return p
}

func (p *pipeline) pass(r *Raft, id raft.ServerID) {
	defer close(p.ended)
	last := false
	for {
		var future raft.AppendFuture
		select {
		case future = <-p.inner.Consumer():
		case <-p.done:
			return
		}
		// What comes from the consumer has been answered, so Error does not wait.
		// Start was taken before the request was written.
		if future.Error() == nil {
			r.answered(id, future.Request().Term, future.Start(), future.Response())
		}
		if last {
			continue // nobody reads it any more, and the sender must not wait
		}
		select {
		case p.out <- future:
		case <-p.done:
			return
		}
		if resp := future.Response(); !resp.Success || resp.Term > future.Request().Term {
			last = true
			close(p.broken)
		}
	}
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture,
	error) {
	select {
	case <-p.broken:
		return nil, raft.ErrPipelineShutdown
	default:
	}
	return p.inner.AppendEntries(args, resp)
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.out }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.done) })
	err := p.inner.Close()
	<-p.ended
	return err
}
