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
	// After is the id of the last event that the caller has. "0" begins with the oldest event that is kept, "" with the
	// next one.
	After string
	// Follow waits for further events for ever. Otherwise reading ends with the newest event.
	Follow bool
}

const maxEventLine = 1 << 20

// Events calls f for each event once, in order. If a master fails, it continues at another master after the last event.
// An event of type "reset" says that events were missed. It returns the error of f, of ctx, or of a call that no master
// answered within Config.Timeout.
func (c *Client) Events(ctx context.Context, from EventsFrom, f func(wire.Event) error) error {
	q := url.Values{}
	if from.After != "" {
		q.Set("after", from.After)
	}
	if !from.Follow {
		q.Set("follow", "false")
	}
	last := ""
	lastGood := time.Now()
	for {
		header := http.Header{}
		if last != "" {
			header.Set(wire.HeaderLastEventID, last)
		}
		ended := errors.New("the master ended the stream")
		_, err := c.do(ctx, &request{
			method: http.MethodGet, path: "/v1/events", query: q, header: header, repeatable: true, oneRound: true,
			timeout: max(c.cfg.Timeout-time.Since(lastGood), minShare),
			stream: func(r io.Reader) error {
				lastGood = time.Now()
				setLast := func(id string) {
					last, lastGood = id, time.Now()
					header.Set(wire.HeaderLastEventID, last)
				}
				err := readEvents(r, setLast, func(e wire.Event) error {
					if err := f(e); err != nil {
						return &sinkError{err}
					}
					setLast(e.ID)
					return nil
				})
				if err == nil && from.Follow {
					lastGood = time.Now()
					err = ended // makes the client try the next master
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
		left := c.cfg.Timeout - time.Since(lastGood)
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

// readEvents reads a stream of server-sent events whose data is JSON, and calls f for each. It calls setLast for an id
// without data, which is only a position to continue from.
func readEvents(r io.Reader, setLast func(id string), f func(wire.Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEventLine)
	position := ""
	for lines.Scan() {
		line := lines.Text()
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			position = id
			continue
		}
		if line == "" && position != "" {
			setLast(position)
			position = ""
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue // the data also contains the type
		}
		position = "" // and the id
		var e wire.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return &sinkError{fmt.Errorf("client: an event cannot be read: %w", err)}
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return lines.Err()
}
