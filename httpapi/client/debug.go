package client

import (
	"context"
	"net/http"

	"scaleout/httpapi/wire"
)

// Debug asks one master for its diagnostic information. Use a client of that master alone (At).
func (c *Client) Debug(ctx context.Context) (wire.Debug, error) {
	var got wire.Debug
	_, err := c.get(ctx, "/v1/cluster/debug", nil, &got)
	return got, err
}

// Metrics returns the metrics of one master in Prometheus's text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	a, err := c.do(ctx, &request{method: http.MethodGet, path: "/metrics", repeatable: true, oneRound: true})
	if err != nil {
		return nil, err
	}
	return a.body, nil
}
