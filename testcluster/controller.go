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

// Controller is a worker whose every message the test chooses: it speaks the workers' protocol and runs nothing.
type Controller struct {
	ID     string
	client *client.Client
	reg    wire.Register

	mu       sync.Mutex
	sequence uint64
}

// Controller registers and enables a worker that the test controls. The masters may count on its attempts to end within
// giveUp of its last contact.
func (c *Cluster) Controller(name string, lease, giveUp time.Duration) *Controller {
	c.tb.Helper()
	folder := c.issue(pki.RoleWorker, name)
	cl, _ := c.connect(folder, nil)
	w := &Controller{ID: strings.ToUpper(uuid.NewString()), client: cl}
	w.reg = wire.Register{
		AgentID: w.ID, Incarnation: uuid.NewString(), MachineID: "machine-of-" + name, BootID: "1", Version: "test",
		MachineName: name, UserAccount: "test", DisplayName: name, MaxTaskCount: 100,
		LeaseMs: lease.Milliseconds(), ErrorToleranceMs: giveUp.Milliseconds(),
		TaskHeartbeatMs: 200, AgentHeartbeatMs: 600_000,
		Extensions: []string{".sh"}, Bitness: []int{64}, Running: []wire.AttemptRef{}, Ended: []wire.Ended{},
	}
	ctx, cancel := context.WithTimeout(c.tb.Context(), 2*time.Minute)
	defer cancel()
	_, _, err := cl.Register(ctx, w.reg)
	c.must(err)
	_, err = c.Admin().Call(ctx, "enable_worker_agent", map[string]any{"WorkerAgentId": w.ID})
	c.must(err)
	return w
}

// At returns the same worker as a client of one master alone.
func (w *Controller) At(c *Cluster, i int) *Controller {
	c.tb.Helper()
	client, err := w.client.At("https://" + c.Address(i))
	c.must(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	return &Controller{ID: w.ID, client: client, reg: w.reg, sequence: w.sequence + 1000}
}

// Register registers again, after change has edited the last registration.
func (w *Controller) Register(ctx context.Context, change func(*wire.Register)) (wire.RegisterAnswer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	reg := w.reg
	if change != nil {
		change(&reg)
	}
	a, _, err := w.client.Register(ctx, reg)
	if err == nil {
		w.reg = reg
	}
	return a, err
}

// Client returns the worker's client.
func (w *Controller) Client() *client.Client { return w.client }

// Incarnation returns what the worker registered as the id of its process ("instance" in the protocol).
func (w *Controller) Incarnation() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reg.Incarnation
}

// Exchange makes one exchange, held by the master for at most wait.
func (w *Controller) Exchange(
	ctx context.Context, wait time.Duration, slots int, running []wire.AttemptRef, ended ...wire.Ended,
) (wire.ExchangeAnswer, error) {
	if running == nil {
		running = []wire.AttemptRef{}
	}
	if ended == nil {
		ended = []wire.Ended{}
	}
	w.mu.Lock()
	w.sequence++
	e := wire.Exchange{
		Incarnation: w.reg.Incarnation, Sequence: w.sequence, WaitMs: wait.Milliseconds(), Slots: slots,
		Running: running, Ended: ended,
	}
	w.mu.Unlock()
	a, _, err := w.client.Exchange(ctx, w.ID, e)
	if err != nil {
		return a, fmt.Errorf("exchange %d: %w", e.Sequence, err)
	}
	return a, nil
}
