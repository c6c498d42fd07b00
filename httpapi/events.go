package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/httpapi/wire"
)

const (
	eventBatch = 256
	// eventPing is how often a stream without events sends a comment, so that its reader sees that the master is alive.
	eventPing = 5 * time.Second
	// eventStreamMost bounds a stream. A reader that connects again shows a certificate that is still valid.
	eventStreamMost = time.Hour
	// eventWait is how long a master that is behind may take to reach the place from which a caller goes on.
	eventWait = 5 * time.Second
)

var eventQuery = []queryParameter{
	{"after", "begin after this event, as Last-Event-ID does; 0 begins with the oldest that is kept. " +
		"Without either: with the next one", "string"},
	{"follow", "false ends the stream with the newest event that there is", "boolean"},
}

// events streams the events of the state. Every master sends the same ones under the same ids, so a caller that loses
// one master goes on at another.
func (a *API) events(w http.ResponseWriter, r *request) error {
	s := eventStream{api: a, r: r, w: w, rc: http.NewResponseController(w)}
	done, err := a.quotas.stream(r.account)
	if err != nil {
		return err
	}
	defer done()
	follow, err := s.begin()
	if err != nil || r.Method == http.MethodHead {
		return err
	}
	ping := time.NewTicker(eventPing)
	defer ping.Stop()
	most := time.NewTimer(eventStreamMost)
	defer most.Stop()
	for {
		view := a.cfg.State.Reader()
		changed := a.cfg.State.Changed(view.Index())
		more, err := s.send(view)
		if err != nil {
			return nil // nobody reads
		}
		if more {
			continue
		}
		if !follow {
			return nil
		}
		for waiting := true; waiting; {
			select {
			case <-changed:
				waiting = false
			case <-ping.C:
				if err := s.write([]byte(":\n\n")); err != nil {
					return nil
				}
			case <-a.stopping.Done():
				return nil // the caller goes on at another master
			case <-most.C:
				return nil
			case <-r.Context().Done():
				return nil
			}
		}
	}
}

type eventStream struct {
	api *API
	r   *request
	w   http.ResponseWriter
	rc  *http.ResponseController
	at  catalog.EventID // the last one that the caller has
}

// begin finds out where the caller wants to begin, and starts the answer.
func (s *eventStream) begin() (follow bool, err error) {
	q := s.r.URL.Query()
	if follow, err = s.r.boolean("follow", true); err != nil {
		return false, err
	}
	after := s.r.Header.Get(wire.HeaderLastEventID) // a reconnecting reader's own place is the newer one
	if after == "" {
		after = q.Get("after")
	}
	view := s.api.cfg.State.Reader()
	s.at = view.LastEvent()
	if after != "" {
		if s.at, err = catalog.ParseEventID(after); err != nil {
			return false, invalid("%v", err)
		}
	}
	known := s.awaitIndex(s.at.Index)
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set(wire.HeaderIndex, strconv.FormatUint(s.api.cfg.State.Reader().Index(), 10))
	s.w.WriteHeader(http.StatusOK)
	if !known {
		// This master has not reached the id: it is of a state before a restore, or of another cluster.
		if err := s.reset(s.api.cfg.State.Reader().LastEvent()); err != nil {
			return false, nil // nobody reads
		}
	}
	// The id comes before the first event, so that a reader that loses this master meanwhile knows where to go on.
	return follow, s.write([]byte("id: " + s.at.String() + "\n: " + s.api.cfg.Member.Name() + "\n\n"))
}

// awaitIndex waits, bounded, until this master's state has come to the index.
func (s *eventStream) awaitIndex(index uint64) bool {
	limit := time.NewTimer(eventWait)
	defer limit.Stop()
	for {
		now := s.api.cfg.State.Reader().Index()
		if now >= index {
			return true
		}
		select {
		case <-s.api.cfg.State.Changed(now):
		case <-limit.C:
			return false
		case <-s.r.Context().Done():
			return true
		}
	}
}

// send writes the next events, at most a batch of them. If more is true, there may be others.
func (s *eventStream) send(view *catalog.Reader) (more bool, err error) {
	events, from, gone := view.Events(s.at, eventBatch)
	if gone {
		return true, s.reset(from)
	}
	if len(events) == 0 {
		return false, nil
	}
	var buf bytes.Buffer
	for i := range events {
		e := &events[i]
		s.at = e.ID
		if !e.VisibleTo(view, s.r.caller) {
			continue
		}
		if err := encodeEvent(&buf, shown(e)); err != nil {
			return false, err
		}
	}
	if buf.Len() > 0 {
		err = s.write(buf.Bytes())
	}
	return len(events) == eventBatch, err
}

// reset tells the reader that the events up to this one are not kept any more, and goes on from there.
func (s *eventStream) reset(from catalog.EventID) error {
	s.at = from
	var buf bytes.Buffer
	if err := encodeEvent(&buf, wire.Event{ID: from.String(), Type: wire.EventReset,
		Detail: "events up to this id are not kept: read the state anew"}); err != nil {
		return err
	}
	return s.write(buf.Bytes())
}

func (s *eventStream) write(b []byte) error {
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

func encodeEvent(buf *bytes.Buffer, e wire.Event) error {
	data, err := json.Marshal(e) // one line: JSON escapes line ends
	if err != nil {
		return err
	}
	fmt.Fprintf(buf, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Type, data)
	return nil
}

// shown is an event for callers.
func shown(e *catalog.Event) wire.Event {
	out := wire.Event{
		ID: e.ID.String(), Time: e.Time.Time(), Type: e.Type,
		Execution: e.Execution, Attempt: e.Attempt, Status: int64(e.Status),
		Worker: e.Worker, Node: e.Node, Name: e.Name, Owner: e.Owner, Detail: e.Detail,
		Folder: e.Folder, Project: e.Project, Package: e.Package,
	}
	if e.Type == catalog.EventExecutionEnded {
		out.StatusName = e.Status.String()
	}
	switch e.Kind().Number {
	case "term":
		out.Term = e.Number
	case "level":
		out.Level = e.Number
	case "version":
		out.Version = e.Number
	case "ms":
		out.Ms = e.Number
	case "exit_code":
		out.ExitCode = e.Number
	case "voter":
		out.Voter = e.Number == 1
	}
	return out
}
