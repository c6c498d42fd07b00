package dev

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// readyTime is how long masters and workers may take until they are ready.
const readyTime = 90 * time.Second

// allReady waits until every master is ready and every worker is online and enabled.
func (c *Cluster) allReady(ctx context.Context, begun time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime,
		fmt.Errorf("the cluster is not ready after %v; see the logs in %s", readyTime, c.Logs()))
	defer cancel()
	for i := range c.Masters {
		if err := c.masterReady(ctx, i); err != nil {
			return err
		}
	}
	for i := range c.Workers {
		if err := c.workerReady(ctx, c.workerName(i), begun); err != nil {
			return err
		}
	}
	return nil
}

// until asks again and again, until the answer is yes or an error; a child that has ended will not become ready.
func (c *Cluster) until(ctx context.Context, name string, ready func() (bool, error)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		if ch := c.child(name); ch != nil && ch.process.Ended() {
			return c.endedError(ch)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *Cluster) masterReady(ctx context.Context, i int) error {
	at, err := c.client.At(c.address(i))
	if err != nil {
		return err
	}
	name := c.masterName(i)
	var gone removal
	return c.until(ctx, name, func() (bool, error) {
		call, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		got, err := at.Ready(call)
		if err != nil {
			return false, nil // it does not answer yet
		}
		if gone.certain(got, time.Now()) {
			return false, fmt.Errorf("%s runs, but is not a member of the cluster any more: delete %s while it does "+
				"not run, and start it again", name, filepath.Join(c.home(name), "data"))
		}
		return got.Ready, nil
	})
}

// removalTime is how long a master must say that it was removed. One that joins says so, too, while it reads of a
// cluster that it did not belong to yet.
const removalTime = 3 * time.Second

// removal notes since when a master says that it was removed from the cluster.
type removal struct{ since time.Time }

// certain takes the master's next answer, and reports whether the master will not become ready.
func (r *removal) certain(answer wire.Ready, now time.Time) bool {
	said := slices.ContainsFunc(answer.Checks, func(c wire.Check) bool { return c.Name == wire.CheckMember && !c.OK })
	switch {
	case !said:
		r.since = time.Time{}
	case r.since.IsZero():
		r.since = now
	}
	return said && now.Sub(r.since) >= removalTime
}

// workerReady enables the worker; it counts once a master has heard from its present process.
func (c *Cluster) workerReady(ctx context.Context, name string, begun time.Time) error {
	id, err := c.agentID(name)
	if err != nil {
		return err
	}
	var refused error
	err = c.until(ctx, name, func() (bool, error) {
		page, err := c.client.View(ctx, "worker_agents", client.Query{Equal: map[string]any{"WorkerAgentId": id}})
		if err != nil || len(page.Rows) == 0 {
			return false, nil
		}
		heard, _ := page.Rows[0].Time("LastOnlineTime")
		if heard.Before(begun) {
			return false, nil
		}
		if !page.Rows[0].Bool("IsEnabled") {
			_, refused = c.client.Call(ctx, "enable_worker_agent", map[string]any{"WorkerAgentId": id})
			return false, nil
		}
		return true, nil
	})
	if err != nil && refused != nil {
		return fmt.Errorf("enable %s: %w", name, refused)
	}
	return err
}
