package httpapi

import (
	"net/http"
	"sync"
	"time"

	"scaleout/httpapi/service"
)

const (
	processingInterval = 3 * time.Second  // between two 102 Processing; callers give up after 10 s without one
	writeDeadline      = 60 * time.Second // for a caller to take the next piece of an answer
)

// progress is a ResponseWriter that sends 102 Processing from time to time until the answer begins, so that the caller
// knows that this master is alive. It has headers of its own until then: net/http writes its header map with every 1xx,
// in whatever goroutine that happens.
type progress struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	header http.Header
	timer  *time.Timer
	able   bool          // the caller speaks HTTP/1.1, which has 1xx responses
	body   *body         // nil: the request has none
	turn   *service.Turn // of the handler's goroutine; left when the answer begins

	mu     sync.Mutex
	status int // 0: no final status yet
	bytes  int64
	done   bool
}

func newProgress(w http.ResponseWriter, r *http.Request, after time.Duration, t bodyTimes) *progress {
	p := &progress{w: w, rc: http.NewResponseController(w), header: make(http.Header), able: r.ProtoAtLeast(1, 1)}
	_ = p.rc.SetWriteDeadline(time.Now().Add(writeDeadline)) // for a 100 Continue of net/http's own
	if r.Body != nil && r.ContentLength != 0 {
		p.body = newBody(r, p.rc, t)
		r.Body = p.body
	}
	p.mu.Lock() // the timer may fire before it is assigned
	p.timer = time.AfterFunc(after, p.tick)
	p.mu.Unlock()
	return p
}

func (p *progress) tick() {
	p.WriteHeader(http.StatusProcessing)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.done && p.status == 0 {
		p.timer.Reset(processingInterval)
	}
}

// Header is the answer's header.
func (p *progress) Header() http.Header { return p.header }

// WriteHeader writes the final status once, or 102 any number of times before it, from any goroutine.
func (p *progress) WriteHeader(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.done || p.status != 0:
	case code == http.StatusProcessing:
		if p.able && !p.body.held() {
			_ = p.rc.SetWriteDeadline(time.Now().Add(writeDeadline))
			p.w.WriteHeader(code)
		}
	case code >= 200:
		p.begin(code)
	}
}

// begin starts the answer. The lock is held.
func (p *progress) begin(code int) {
	p.status = code
	p.turn.End()
	p.timer.Stop()
	h := p.w.Header()
	for k, v := range p.header {
		h[k] = v
	}
	p.body.abandon()
	// From here on changes of the header are trailers or nothing, as with any ResponseWriter.
	p.header = h
	_ = p.rc.SetWriteDeadline(time.Now().Add(writeDeadline))
	p.w.WriteHeader(code)
}

// Write writes a piece of the answer. The caller has writeDeadline to take each piece.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	if p.done {
		p.mu.Unlock()
		return 0, http.ErrHandlerTimeout
	}
	if p.status == 0 {
		p.begin(http.StatusOK)
	}
	p.mu.Unlock()
	_ = p.rc.SetWriteDeadline(time.Now().Add(writeDeadline))
	n, err := p.w.Write(b)
	p.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach deadlines and flushing.
func (p *progress) Unwrap() http.ResponseWriter { return p.w }

// finish ends the 102 responses before the handler returns. net/http may then still write for writeDeadline, and reads
// no more of the body.
func (p *progress) finish() (status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	p.timer.Stop()
	p.body.abandon()
	_ = p.rc.SetWriteDeadline(time.Now().Add(writeDeadline))
	return p.status
}

func (p *progress) begun() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status != 0
}
