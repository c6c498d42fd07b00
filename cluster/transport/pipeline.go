package transport

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipeline passes the library's pipelined answers on and notes them on the way.
type pipeline struct {
	inner raft.AppendPipeline
	out   chan raft.AppendFuture
	done  chan struct{}
	once  sync.Once
	ended chan struct{}
}

func newPipeline(r *Raft, id raft.ServerID, inner raft.AppendPipeline) *pipeline {
	p := &pipeline{inner: inner, out: make(chan raft.AppendFuture), done: make(chan struct{}), ended: make(chan struct{})}
	go p.pass(r, id)
	return p
}

func (p *pipeline) pass(r *Raft, id raft.ServerID) {
	defer close(p.ended)
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
		select {
		case p.out <- future:
		case <-p.done:
			return
		}
	}
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
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
