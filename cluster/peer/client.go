package peer

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

const maxBody = 4 << 20

// Client calls other masters by node id.
type Client struct{ http *http.Client }

// NewClient makes a Client over an HTTP client that reaches the master with id ID at https://ID.
func NewClient(h *http.Client) *Client { return &Client{h} }

// Problem is how a master refuses a peer's call.
type Problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Leader string `json:"leader,omitempty"` // node id, with not_leader
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Code
	}
	return p.Detail
}

// Codes of refusals between masters.
const (
	CodeNotLeader     = "not_leader"
	CodeRefused       = "refused"
	CodeUnknownMember = "unknown_member"
	CodeRemoved       = "removed"
	CodeBusy          = "busy"
	CodeBadRequest    = "bad_request"
)

// Call sends in as JSON (nil: GET) and decodes the answer into out. A refusal is a *Problem.
func (c *Client) Call(ctx context.Context, id, path string, query url.Values, in, out any) error {
	method, body := http.MethodGet, io.Reader(nil)
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		method, body = http.MethodPost, bytes.NewReader(b)
	}
	target := "https://" + id + path
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
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("master %s: %w", id, err)
	}
	if len(b) > maxBody {
		return fmt.Errorf("master %s: %s answered more than %d bytes", id, path, maxBody)
	}
	if resp.StatusCode != http.StatusOK {
		p := &Problem{}
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

// StatusPath is where a master serves its Status.
const StatusPath = "/peer/status"

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
	Disk         string `json:"disk,omitempty"` // why it must not lead with its disk; "" if the disk is healthy
	Clock        int64  `json:"clock"`          // nanoseconds since 1970
}

// Status asks one master.
func (c *Client) Status(ctx context.Context, id string) (Status, error) {
	var s Status
	err := c.Call(ctx, id, StatusPath, nil, nil, &s)
	if err == nil && s.ID != id {
		err = fmt.Errorf("master %s: a node that says it is %q answered", id, s.ID)
	}
	return s, err
}

// Answer is one master's answer to Statuses.
type Answer struct {
	Status
	Err error
}

// Statuses asks several nodes at once and returns when all have answered or timeout has passed.
func (c *Client) Statuses(ctx context.Context, ids []string, timeout time.Duration) map[string]Answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var (
		mu  sync.Mutex
		wg  sync.WaitGroup
		all = make(map[string]Answer, len(ids))
	)
	for _, id := range ids {
		wg.Go(func() {
			s, err := c.Status(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			all[id] = Answer{s, err}
		})
	}
	wg.Wait()
	return all
}

// Refusal is the Problem in err, if a master refused.
func Refusal(err error) (*Problem, bool) {
	var p *Problem
	return p, errors.As(err, &p)
}
