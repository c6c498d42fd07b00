package client

import (
	"fmt"
	"strings"
	"time"
)

// watchSilence tells Config.Waiting when a call that is tried for patience meets no master within a second. The function
// that it returns ends that: a master shows that it is there, or the call is over.
func (c *Client) watchSilence(patience time.Duration) (heard func()) {
	if c.cfg.Waiting == nil {
		return func() {}
	}
	t := time.AfterFunc(noticeAfter, func() {
		tried := strings.Join(c.round(), ", ")
		c.waiting(fmt.Errorf("%w: nothing is heard from %s", ErrUnreachable, tried), patience-noticeAfter)
	})
	return func() { t.Stop() }
}

// waiting tells that a call is tried on after err, for at most left: once until a call is answered.
func (c *Client) waiting(err error, left time.Duration) {
	if c.cfg.Waiting == nil {
		return
	}
	c.mu.Lock()
	told := c.told
	c.told = true
	c.mu.Unlock()
	if !told {
		c.cfg.Waiting(err, max(left, 0))
	}
}
