package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"scaleout/httpapi/wire"
)

// Leader asks the masters who leads. It takes one round: "nobody" (ErrNoLeader) is an answer.
func (c *Client) Leader(ctx context.Context) (wire.Leader, error) {
	var got wire.Leader
	a, err := c.do(ctx, &request{method: http.MethodGet, path: "/v1/status/leader", again: true, once: true})
	if err != nil {
		return got, err
	}
	return got, decode(a, &got)
}

// Peers asks for the voters' addresses.
func (c *Client) Peers(ctx context.Context) (wire.Peers, error) {
	var got wire.Peers
	_, err := c.get(ctx, "/v1/status/peers", nil, &got)
	return got, err
}

// Cluster asks the leader for the state of the cluster.
func (c *Client) Cluster(ctx context.Context) (wire.ClusterStatus, error) {
	var got wire.ClusterStatus
	_, err := c.get(ctx, "/v1/cluster", nil, &got)
	return got, err
}

// ClusterStale asks one master (the first that answers) how it sees the cluster, whether or not somebody leads.
func (c *Client) ClusterStale(ctx context.Context) (wire.ClusterStatus, error) {
	var got wire.ClusterStatus
	a, err := c.do(ctx, &request{method: http.MethodGet, path: "/v1/cluster", query: url.Values{"consistency": {"stale"}}, again: true, once: true})
	if err != nil {
		return got, err
	}
	return got, decode(a, &got)
}

// Transfer hands leadership to the named master, or to the one that the leader chooses when to is "".
func (c *Client) Transfer(ctx context.Context, to string) (wire.Leader, error) {
	var got wire.Leader
	_, err := c.post(ctx, &request{path: "/v1/cluster/transfer-leadership"}, wire.Transfer{To: to}, &got)
	return got, err
}

// RemoveMember removes a master from the cluster. Force removes it even when blobs would lose their majority.
func (c *Client) RemoveMember(ctx context.Context, id string, force bool) error {
	q := url.Values{}
	if force {
		q.Set("force", "true")
	}
	// A member that is gone stays gone: repeating is safe.
	_, err := c.do(ctx, &request{method: http.MethodDelete, path: "/v1/cluster/members/" + url.PathEscape(id), query: q, again: true})
	return err
}

// StateHash asks for the hash of one node's state: use a client of that master alone (At). With index > 0 the master
// waits, bounded, until its state is exactly there; past it is an *Error with code "index_passed".
func (c *Client) StateHash(ctx context.Context, index uint64) (wire.StateHash, error) {
	q := url.Values{}
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
	}
	var got wire.StateHash
	_, err := c.get(ctx, "/v1/cluster/state-hash", q, &got)
	return got, err
}

// Ready asks one master (the first that answers) whether it can serve. Not ready is no error.
func (c *Client) Ready(ctx context.Context) (wire.Ready, error) {
	var got wire.Ready
	r := &request{method: http.MethodGet, path: "/readyz", query: url.Values{"verbose": {"1"}}, again: true, once: true}
	a, err := c.do(ctx, r)
	var e *Error
	if errors.As(err, &e) && e.body != nil && json.Unmarshal(e.body, &got) == nil {
		return got, nil
	}
	if err != nil {
		return got, err
	}
	return got, decode(a, &got)
}

// OpenAPI is the description of the interface, as JSON.
func (c *Client) OpenAPI(ctx context.Context) (json.RawMessage, error) {
	a, err := c.do(ctx, &request{method: http.MethodGet, path: "/v1/openapi.json", again: true})
	if err != nil {
		return nil, err
	}
	return a.body, nil
}
