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

// Leader asks the masters who leads. It makes one round through the masters: "nobody" (ErrNoLeader) is an answer.
func (c *Client) Leader(ctx context.Context) (wire.Leader, error) {
	var got wire.Leader
	a, err := c.do(ctx, &request{method: http.MethodGet, path: "/v1/status/leader", repeatable: true, oneRound: true})
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

// ClusterStale asks the first master that answers for its own view of the cluster, whether or not there is a leader.
func (c *Client) ClusterStale(ctx context.Context) (wire.ClusterStatus, error) {
	var got wire.ClusterStatus
	a, err := c.do(ctx, &request{
		method: http.MethodGet, path: "/v1/cluster", query: url.Values{"consistency": {"stale"}},
		repeatable: true, oneRound: true,
	})
	if err != nil {
		return got, err
	}
	return got, decode(a, &got)
}

// Transfer hands leadership to the named master. If to is "", the leader chooses one.
func (c *Client) Transfer(ctx context.Context, to string) (wire.Leader, error) {
	var got wire.Leader
	_, err := c.post(ctx, &request{path: "/v1/cluster/transfer-leadership"}, wire.Transfer{To: to}, &got)
	return got, err
}

// RemoveMember removes a master from the cluster. With force it does so even if blobs lose their majority by it.
func (c *Client) RemoveMember(ctx context.Context, id string, force bool) error {
	q := url.Values{}
	if force {
		q.Set("force", "true")
	}
	// A removed member stays removed, so the call may be repeated.
	_, err := c.do(ctx, &request{
		method: http.MethodDelete, path: "/v1/cluster/members/" + url.PathEscape(id), query: q, repeatable: true,
	})
	return err
}

// StateHash asks for the hash of one node's state. Use a client of that master alone (At). With index > 0 the master
// waits, for a bounded time, until its state has exactly that index. If the state is past it, the error is an *Error
// with the code "index_passed".
func (c *Client) StateHash(ctx context.Context, index uint64) (wire.StateHash, error) {
	q := url.Values{}
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
	}
	var got wire.StateHash
	_, err := c.get(ctx, "/v1/cluster/state-hash", q, &got)
	return got, err
}

// Ready asks the first master that answers whether it is ready. That it is not ready is no error.
func (c *Client) Ready(ctx context.Context) (wire.Ready, error) {
	var got wire.Ready
	r := &request{
		method: http.MethodGet, path: "/readyz", query: url.Values{"verbose": {"1"}}, repeatable: true, oneRound: true,
	}
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
