package client

import (
	"context"
	"net/http"

	"scaleout/httpapi/wire"
)

// Debug asks one master for what it tells about itself: use a client of that master alone (At).
func (c *Client) Debug(ctx context.Context) (wire.Debug, error) {
	var got wire.Debug
	_, err := c.get(ctx, "/v1/cluster/debug", nil, &got)
	return got, err
}

// Metrics is what one master shows to Prometheus, as text.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	a, err := c.do(ctx, &request{method: http.MethodGet, path: "/metrics", again: true, once: true})
	if err != nil {
		return nil, err
	}
	return a.body, nil
}
