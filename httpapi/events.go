package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

const (
	// eventPing is how often a stream without events sends a comment, so that its reader sees that the master is alive.
	eventPing = 5 * time.Second
	// eventStreamMost bounds a stream. A reader that connects again shows a certificate that is still valid.
	eventStreamMost = time.Hour
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
		changed, err := s.send()
		if err != nil {
			return nil // nobody reads
		}
		if changed == nil {
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
	api    *API
	r      *request
	w      http.ResponseWriter
	rc     *http.ResponseController
	events *service.Events
}

// begin finds out where the caller wants to begin, and starts the answer.
func (s *eventStream) begin() (follow bool, err error) {
	if follow, err = s.r.boolean("follow", true); err != nil {
		return false, err
	}
	after := s.r.Header.Get(wire.HeaderLastEventID) // a reconnecting reader's own place is the newer one
	if after == "" {
		after = s.r.URL.Query().Get("after")
	}
	if s.events, err = s.api.service.Events(s.r.caller, after); err != nil {
		return false, invalid("%v", err)
	}
	reached := s.events.Reach(s.r.Context())
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set(wire.HeaderIndex, strconv.FormatUint(s.api.service.Index(), 10))
	s.w.WriteHeader(http.StatusOK)
	if !reached {
		s.events.Restart()
		if err := s.reset(); err != nil {
			return false, nil // nobody reads
		}
	}
	// The id comes before the first event, so that a reader that loses this master meanwhile knows where to go on.
	return follow, s.write([]byte("id: " + s.events.Place() + "\n: " + s.api.cfg.Member.Name() + "\n\n"))
}

// send writes the next events, at most a batch of them. Changed is closed once there may be others; nil: there may be
// now.
func (s *eventStream) send() (changed <-chan struct{}, err error) {
	batch := s.events.Next()
	if batch.Gone {
		return nil, s.reset()
	}
	var buf bytes.Buffer
	for i := range batch.Events {
		if err := encodeEvent(&buf, wire.Event(batch.Events[i])); err != nil {
			return nil, err
		}
	}
	if buf.Len() > 0 {
		err = s.write(buf.Bytes())
	}
	return batch.Changed, err
}

// reset tells the reader that the events up to the place are not kept any more.
func (s *eventStream) reset() error {
	var buf bytes.Buffer
	if err := encodeEvent(&buf, wire.Event{ID: s.events.Place(), Type: wire.EventReset,
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
