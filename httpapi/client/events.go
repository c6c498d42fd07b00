package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"scaleout/httpapi/wire"
)

// EventsFrom says which events to read.
type EventsFrom struct {
	// After is the id of the last event that the caller has; "0": begin with the oldest that is kept; "": with the next.
	After string
	// Follow goes on for ever; otherwise reading ends with the newest event that there is.
	Follow bool
}

const maxEventLine = 1 << 20

// Events calls f for each event, in order, each once. When a master fails, it goes on at another from where it was; an
// event of type "reset" says that some were missed. It returns f's error, ctx's, or that of a call that no master
// answered for as long as the client is patient.
func (c *Client) Events(ctx context.Context, from EventsFrom, f func(wire.Event) error) error {
	q := url.Values{}
	if from.After != "" {
		q.Set("after", from.After)
	}
	if !from.Follow {
		q.Set("follow", "false")
	}
	last := ""
	good := time.Now()
	for {
		header := http.Header{}
		if last != "" {
			header.Set(wire.HeaderLastEventID, last)
		}
		ended := errors.New("the master ended the stream")
		_, err := c.do(ctx, &request{
			method: http.MethodGet, path: "/v1/events", query: q, header: header, again: true, once: true,
			patience: max(c.cfg.Patience-time.Since(good), leastShare),
			stream: func(r io.Reader) error {
				good = time.Now()
				at := func(id string) {
					last, good = id, time.Now()
					header.Set(wire.HeaderLastEventID, last)
				}
				err := readEvents(r, at, func(e wire.Event) error {
					if err := f(e); err != nil {
						return &sinkError{err}
					}
					at(e.ID)
					return nil
				})
				if err == nil && from.Follow {
					good = time.Now()
					err = ended // so that the next master is tried
				}
				return err
			},
		})
		switch {
		case err == nil || ctx.Err() != nil:
			return errors.Join(err, context.Cause(ctx))
		case errors.Is(err, ErrUnreachable), errors.Is(err, ErrNoLeader):
		default:
			return err
		}
		left := c.cfg.Patience - time.Since(good)
		if left < 0 {
			return err
		}
		c.waiting(err, left)
		pause := time.NewTimer(c.cfg.Backoff)
		select {
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		case <-pause.C:
		}
	}
}

// readEvents reads a stream of server-sent events whose data is JSON. An id without data is a place to go on from.
func readEvents(r io.Reader, at func(id string), f func(wire.Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEventLine)
	place := ""
	for lines.Scan() {
		line := lines.Text()
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			place = id
			continue
		}
		if line == "" && place != "" {
			at(place)
			place = ""
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue // the type is in the data too
		}
		place = "" // so is the id
		var e wire.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return &sinkError{fmt.Errorf("client: an event that cannot be read: %w", err)}
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return lines.Err()
}
