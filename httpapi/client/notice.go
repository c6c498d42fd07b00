package client

import (
	"fmt"
	"strings"
	"time"
)

// watchSilence calls Config.Waiting if no master shows a sign of life within a second. The call is tried for timeout.
// The returned function ends the watch: the caller calls it at a master's first sign of life and at the end of the
// call.
func (c *Client) watchSilence(timeout time.Duration) (heard func()) {
	if c.cfg.Waiting == nil {
		return func() {}
	}
	t := time.AfterFunc(noticeAfter, func() {
		tried := strings.Join(c.tryOrder(), ", ")
		c.waiting(fmt.Errorf("%w: nothing is heard from %s", ErrUnreachable, tried), timeout-noticeAfter)
	})
	return func() { t.Stop() }
}

// waiting calls Config.Waiting, once per outage: a call has failed with err and is tried further for at most left.
func (c *Client) waiting(err error, left time.Duration) {
	if c.cfg.Waiting == nil {
		return
	}
	c.mu.Lock()
	notified := c.notified
	c.notified = true
	c.mu.Unlock()
	if !notified {
		c.cfg.Waiting(err, max(left, 0))
	}
}
