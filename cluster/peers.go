package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const maxPeerBody = 4 << 20

// peerClient calls other masters by node id.
type peerClient struct {
	http *http.Client
	base func(id string) string // "https://<node-id>"
}

// problem is how a master refuses a peer's call.
type problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Leader string `json:"leader,omitempty"` // node id, with not_leader
}

func (p *problem) Error() string {
	if p.Detail == "" {
		return p.Code
	}
	return p.Detail
}

// Codes of refusals between masters.
const (
	codeNotLeader = "not_leader"
	codeRefused   = "refused"
	codeUnknown   = "unknown_member"
	codeRemoved   = "removed"
	codeBusy      = "busy"
	codeBad       = "bad_request"
)

// call sends in as JSON (nil: GET) and decodes the answer into out. A refusal is a *problem.
func (c *peerClient) call(ctx context.Context, id, path string, query url.Values, in, out any) error {
	method, body := http.MethodGet, io.Reader(nil)
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		method, body = http.MethodPost, bytes.NewReader(b)
	}
	target := c.base(id) + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("master %s: %w", id, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerBody+1))
	if err != nil {
		return fmt.Errorf("master %s: %w", id, err)
	}
	if len(b) > maxPeerBody {
		return fmt.Errorf("master %s: %s answered more than %d bytes", id, path, maxPeerBody)
	}
	if resp.StatusCode != http.StatusOK {
		p := &problem{}
		if json.Unmarshal(b, p) != nil || p.Code == "" {
			return fmt.Errorf("master %s: %s answered %s", id, path, resp.Status)
		}
		p.Status = resp.StatusCode
		return p
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("master %s: unreadable answer to %s: %w", id, path, err)
	}
	return nil
}

// Status is what one master says about itself to another.
type Status struct {
	ID              string `json:"id"`
	Name            string `json:"name"`
	Address         string `json:"address"`
	Version         string `json:"version"`
	Level           int    `json:"level"`
	BootstrapExpect int    `json:"bootstrap_expect"`
	HasState        bool   `json:"has_state"`
	Stopping        bool   `json:"stopping"`
	State           string `json:"state"`
	Term            uint64 `json:"term"`
	Leader          string `json:"leader"` // node id
	// LeaderGone: the leader's process has ended, as this node found out; see succession.
	LeaderGone   bool   `json:"leader_gone,omitempty"`
	LastIndex    uint64 `json:"last_index"`
	CommitIndex  uint64 `json:"commit_index"`
	AppliedIndex uint64 `json:"applied_index"`
	LogBytes     uint64 `json:"log_bytes"`
	FreeBytes    int64  `json:"free_bytes"`     // -1: unknown
	Disk         string `json:"disk,omitempty"` // why its disk is none to lead with
	Clock        int64  `json:"clock"`          // nanoseconds since 1970
}

func (c *peerClient) status(ctx context.Context, id string) (Status, error) {
	var s Status
	err := c.call(ctx, id, "/peer/status", nil, nil, &s)
	if err == nil && s.ID != id {
		err = fmt.Errorf("master %s: a node that says it is %q answered", id, s.ID)
	}
	return s, err
}

// asked is one node's answer to statuses.
type asked struct {
	Status
	err error
}

// statuses asks several nodes at once and returns when all have answered or timeout has passed.
func (c *peerClient) statuses(ctx context.Context, ids []string, timeout time.Duration) map[string]asked {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var (
		mu  sync.Mutex
		wg  sync.WaitGroup
		all = make(map[string]asked, len(ids))
	)
	for _, id := range ids {
		wg.Go(func() {
			s, err := c.status(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			all[id] = asked{s, err}
		})
	}
	wg.Wait()
	return all
}

// refusal is the problem in err, if a master refused.
func refusal(err error) (*problem, bool) {
	var p *problem
	return p, errors.As(err, &p)
}
