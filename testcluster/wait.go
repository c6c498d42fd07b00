package testcluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// busy is the factor by which everything may take longer on a busy machine.
const busy = 5

// Eventually waits until the condition holds. The limit is for a quiet machine: the test fails after busy times the
// limit.
func (c *Cluster) Eventually(what string, limit time.Duration, ok func() bool) {
	c.tb.Helper()
	limit *= busy
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			c.tb.Fatalf("waited %v in vain: %s", limit, what)
		case <-tick.C:
		}
	}
}

// Leader waits until a majority of the masters, without the forgotten ones, name the same leader, and returns its
// index.
func (c *Cluster) Leader() int {
	c.tb.Helper()
	leader := -1
	c.Eventually("a leader", 30*time.Second, func() bool {
		votes := map[string]int{}
		members := 0
		for _, nd := range c.all() {
			if !nd.gone.Load() {
				members++
			}
			if !nd.running() {
				continue
			}
			ctx, cancel := context.WithTimeout(c.tb.Context(), time.Second)
			l, err := c.Client(nd.i).Leader(ctx)
			cancel()
			if err == nil {
				votes[l.Name]++
			}
		}
		for _, nd := range c.all() {
			if votes[nd.name] > members/2 || votes[nd.name] > 0 && votes[nd.name] == len(votes) && len(votes) == 1 {
				leader = nd.i
				return true
			}
		}
		return false
	})
	return leader
}

// Others returns the indices of all masters except i.
func (c *Cluster) Others(i int) []int {
	var out []int
	for _, nd := range c.all() {
		if nd.i != i {
			out = append(out, nd.i)
		}
	}
	return out
}

// WaitHashes waits until all running masters have applied the same entry and compares their states there.
func (c *Cluster) WaitHashes() {
	c.tb.Helper()
	deadline := time.Now().Add(busy * 30 * time.Second)
	for {
		problem := c.compareHashes()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) || strings.HasPrefix(problem, "DIFFERENT") {
			c.tb.Errorf("state hashes: %s", problem)
			return
		}
	}
}

// compareHashes asks all masters for the hash at one index a little ahead, and makes harmless calls until the log gets
// there. It returns "" if the hashes are equal.
func (c *Cluster) compareHashes() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	admin := c.Admin()
	status, err := admin.Cluster(ctx)
	if err != nil {
		return err.Error()
	}
	members := map[string]bool{}
	for _, m := range status.Members {
		if m.Role != wire.RoleVoter && m.Role != wire.RoleNonvoter {
			continue
		}
		members[m.Name] = true
	}
	target := status.Index + 3
	var mu sync.Mutex
	var group sync.WaitGroup
	hashes := map[string][]string{}
	var problems []string
	for _, nd := range c.all() {
		if !nd.running() || !members[nd.name] {
			continue
		}
		group.Go(func() {
			h, err := c.Client(nd.i).StateHash(ctx, target)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems = append(problems, fmt.Sprintf("%s: %v", nd.name, err))
				return
			}
			hashes[h.Hash] = append(hashes[h.Hash], nd.name)
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	// An idle cluster writes only one entry per second. These calls are faster.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-tick.C:
			if _, err := admin.Call(ctx, "enable_scaleout", nil); err != nil {
				cancel()
			}
		}
	}
	switch {
	case len(hashes) > 1:
		return fmt.Sprintf("DIFFERENT at index %d: %v", target, hashes)
	case len(problems) > 0:
		return strings.Join(problems, "; ")
	}
	return ""
}

// WaitStatus waits until an execution has one of the statuses and returns its row.
func (c *Cluster) WaitStatus(id int64, limit time.Duration, statuses ...int64) client.Row {
	c.tb.Helper()
	var row client.Row
	c.Eventually(fmt.Sprintf("execution %d in %v", id, statuses), limit, func() bool {
		ctx, cancel := context.WithTimeout(c.tb.Context(), 10*time.Second)
		defer cancel()
		page, err := c.Admin().View(ctx, "executions", client.Query{Equal: map[string]any{"execution_id": id}})
		if err != nil || len(page.Rows) == 0 {
			return false
		}
		row = page.Rows[0]
		status, _ := row.Int("status")
		for _, s := range statuses {
			if s == status {
				return true
			}
		}
		return false
	})
	return row
}

// Logged reports whether a line of a master's log contains the text.
func (c *Cluster) Logged(i int, text string) bool {
	c.tb.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, "test.log"))
	c.must(err)
	who := c.node(i).name
	for line := range strings.Lines(string(raw)) {
		// A line about another master has a second attribute node.
		_, from, _ := strings.Cut(line, " node=")
		name, _, _ := strings.Cut(from, " ")
		if strings.TrimSpace(name) == who && strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// Said reports whether the log of the masters and workers contains the text.
func (c *Cluster) Said(text string) bool {
	c.tb.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, "test.log"))
	c.must(err)
	return bytes.Contains(raw, []byte(text))
}
