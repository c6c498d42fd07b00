package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"scaleout/httpapi/wire"
)

// Register registers a worker. Sent is when the attempt that was answered was sent: durations in the answer count from
// it.
func (c *Client) Register(ctx context.Context, reg wire.Register) (a wire.RegisterAnswer, sent time.Time, err error) {
	sent, err = c.post(ctx, &request{path: "/v1/workers/register", again: true}, reg, &a)
	return a, sent, err
}

// Exchange makes one exchange; the master may hold it for req.WaitMs. The same exchange, sequence included, goes to
// the next master when one does not answer within the hold and 5 s. Sent is when the attempt that was answered was
// sent: durations in the answer count from it.
func (c *Client) Exchange(ctx context.Context, worker string, req wire.Exchange) (a wire.ExchangeAnswer, sent time.Time, err error) {
	r := &request{
		path: "/v1/workers/" + url.PathEscape(worker) + "/exchange", again: true,
		limited: true, hold: time.Duration(req.WaitMs) * time.Millisecond,
	}
	sent, err = c.post(ctx, r, req, &a)
	return a, sent, err
}

// Messages hands over messages. It returns after they are committed; a gap is an *Error with code "gap" whose Problem
// says what the state takes next.
func (c *Client) Messages(ctx context.Context, worker string, m wire.Messages) (a wire.MessagesAnswer, err error) {
	_, err = c.post(ctx, &request{path: "/v1/workers/" + url.PathEscape(worker) + "/messages", again: true}, m, &a)
	return a, err
}

func (c *Client) post(ctx context.Context, r *request, body, into any) (time.Time, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return time.Time{}, fmt.Errorf("client: %s: %w", r.path, err)
	}
	r.method, r.body = http.MethodPost, b
	a, err := c.do(ctx, r)
	if err != nil {
		return time.Time{}, err
	}
	return a.sent, decode(a, into)
}
