package testcluster

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"scaleout/cluster/pki"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// Hand is a worker played by hand: it speaks the workers' protocol and runs nothing.
type Hand struct {
	ID     string
	client *client.Client
	reg    wire.Register

	mu       sync.Mutex
	sequence uint64
}

// Hand registers and enables a worker that the test plays. Its packages may run for giveUp without a master.
func (c *Cluster) Hand(name string, lease, giveUp time.Duration) *Hand {
	c.tb.Helper()
	folder := c.issue(pki.RoleWorker, name)
	cl, _ := c.connect(folder, nil)
	h := &Hand{ID: strings.ToUpper(uuid.NewString()), client: cl}
	h.reg = wire.Register{
		AgentID: h.ID, Instance: uuid.NewString(), MachineID: "machine-of-" + name, BootID: "1", Version: "test",
		MachineName: name, UserAccount: "test", DisplayName: name, MaxTaskCount: 100,
		LeaseMs: lease.Milliseconds(), TaskHeartbeatMs: 200, AgentHeartbeatMs: 600_000, ErrorToleranceMs: giveUp.Milliseconds(),
		Extensions: []string{".sh"}, Bitness: []int{64}, Running: []wire.AttemptRef{}, Ended: []wire.Ended{},
	}
	ctx, cancel := context.WithTimeout(c.tb.Context(), 2*time.Minute)
	defer cancel()
	_, _, err := cl.Register(ctx, h.reg)
	c.must(err)
	_, err = c.Admin().Call(ctx, "enable_worker_agent", map[string]any{"WorkerAgentId": h.ID})
	c.must(err)
	return h
}

// At is the same worker, talking to one master alone.
func (h *Hand) At(c *Cluster, i int) *Hand {
	c.tb.Helper()
	one, err := h.client.At("https://" + c.Address(i))
	c.must(err)
	h.mu.Lock()
	defer h.mu.Unlock()
	return &Hand{ID: h.ID, client: one, reg: h.reg, sequence: h.sequence + 1000}
}

// Register registers again, as changed.
func (h *Hand) Register(ctx context.Context, change func(*wire.Register)) (wire.RegisterAnswer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	reg := h.reg
	if change != nil {
		change(&reg)
	}
	a, _, err := h.client.Register(ctx, reg)
	if err == nil {
		h.reg = reg
	}
	return a, err
}

// Client is the client that the worker talks with.
func (h *Hand) Client() *client.Client { return h.client }

// Instance is the worker's process, as registered.
func (h *Hand) Instance() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reg.Instance
}

// Exchange makes one exchange.
func (h *Hand) Exchange(ctx context.Context, wait time.Duration, slots int, running []wire.AttemptRef, ended ...wire.Ended) (wire.ExchangeAnswer, error) {
	if running == nil {
		running = []wire.AttemptRef{}
	}
	if ended == nil {
		ended = []wire.Ended{}
	}
	h.mu.Lock()
	h.sequence++
	e := wire.Exchange{
		Instance: h.reg.Instance, Sequence: h.sequence, WaitMs: wait.Milliseconds(), Slots: slots, Running: running, Ended: ended,
	}
	h.mu.Unlock()
	a, _, err := h.client.Exchange(ctx, h.ID, e)
	if err != nil {
		return a, fmt.Errorf("exchange %d: %w", e.Sequence, err)
	}
	return a, nil
}
