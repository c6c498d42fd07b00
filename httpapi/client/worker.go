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

// Register registers a worker. The time sent is when the answered attempt was sent: durations in the answer count from
// then.
func (c *Client) Register(ctx context.Context, reg wire.Register) (a wire.RegisterAnswer, sent time.Time, err error) {
	sent, err = c.post(ctx, &request{path: "/v1/workers/register", repeatable: true}, reg, &a)
	return a, sent, err
}

// Exchange makes one exchange; the master may hold it for WaitMs. If a master does not answer within the hold and 5 s,
// the same exchange, with the same sequence number, is sent to the next one. The time sent is when the answered attempt
// was sent: durations in the answer count from then.
func (c *Client) Exchange(
	ctx context.Context, worker string, x wire.Exchange,
) (a wire.ExchangeAnswer, sent time.Time, err error) {
	r := &request{
		path: "/v1/workers/" + url.PathEscape(worker) + "/exchange", repeatable: true,
		held: true, hold: time.Duration(x.WaitMs) * time.Millisecond,
	}
	sent, err = c.post(ctx, r, x, &a)
	return a, sent, err
}

// Messages hands over messages and returns after they are committed. A gap is an *Error with the code "gap", whose
// Problem says which number the state takes next.
func (c *Client) Messages(ctx context.Context, worker string, m wire.Messages) (a wire.MessagesAnswer, err error) {
	r := &request{path: "/v1/workers/" + url.PathEscape(worker) + "/messages", repeatable: true}
	_, err = c.post(ctx, r, m, &a)
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
