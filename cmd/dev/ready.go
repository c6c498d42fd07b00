package dev

import (
	"context"
	"fmt"
	"time"

	"scaleout/httpapi/client"
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

// until asks again and again; a child that has ended will not become ready.
func (c *Cluster) until(ctx context.Context, name string, ok func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if ch := c.child(name); ch != nil && ch.process.Ended() {
			return c.endedError(ch)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (c *Cluster) masterReady(ctx context.Context, i int) error {
	at, err := c.client.At(c.address(i))
	if err != nil {
		return err
	}
	return c.until(ctx, c.masterName(i), func() bool {
		call, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		got, err := at.Ready(call)
		return err == nil && got.Ready
	})
}

// workerReady enables the worker; it counts once a master has heard from its present process.
func (c *Cluster) workerReady(ctx context.Context, name string, begun time.Time) error {
	id, err := c.agentID(name)
	if err != nil {
		return err
	}
	var refused error
	err = c.until(ctx, name, func() bool {
		page, err := c.client.View(ctx, "worker_agents", client.Query{Equal: map[string]any{"WorkerAgentId": id}})
		if err != nil || len(page.Rows) == 0 {
			return false
		}
		heard, _ := page.Rows[0].Time("LastOnlineTime")
		if heard.Before(begun) {
			return false
		}
		if !page.Rows[0].Bool("IsEnabled") {
			_, refused = c.client.Call(ctx, "enable_worker_agent", map[string]any{"WorkerAgentId": id})
			return false
		}
		return true
	})
	if err != nil && refused != nil {
		return fmt.Errorf("enable %s: %w", name, refused)
	}
	return err
}
