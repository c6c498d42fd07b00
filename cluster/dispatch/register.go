package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// Register records a worker's process. It refuses a lease that is too short for this cluster's timings, and an AgentId
// that another machine is using. received is when the call arrived.
func (d *Dispatcher) Register(
	ctx context.Context, cmd *command.RegisterWorker, received time.Time,
) (command.Registration, error) {
	if err := d.checkLease(cmd); err != nil {
		return command.Registration{}, err
	}
	if err := d.checkMachine(ctx, cmd); err != nil {
		return command.Registration{}, err
	}
	if err := d.holdOn(ctx, cmd, received); err != nil {
		return command.Registration{}, err
	}
	env, err := command.Wrap(cmd)
	if err != nil {
		return command.Registration{}, err
	}
	env.Caller = command.Caller{Kind: "worker", Name: cmd.CertName}
	result, _, err := d.cfg.Node.Propose(ctx, env)
	if err != nil {
		return command.Registration{}, err
	}
	if result.Rejection != nil {
		return command.Registration{}, result.Rejection
	}
	if len(result.Items) != len(cmd.Ended)+len(cmd.Running) {
		return command.Registration{}, fmt.Errorf("the state machine answered %d items to %d",
			len(result.Items), len(cmd.Ended)+len(cmd.Running))
	}
	var reg command.Registration
	for i, r := range cmd.Ended {
		if result.Items[i].Code == "" {
			reg.Settled = append(reg.Settled, r.AttemptRef)
		} else {
			reg.Fenced = append(reg.Fenced, r.AttemptRef)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return command.Registration{}, command.ErrNotLeader
	}
	reader := d.cfg.State.Reader() // under the lock: the queue never goes back to an older state
	ids := make([]int64, 0, len(cmd.Ended)+len(cmd.Running))
	for _, r := range cmd.Ended {
		ids = append(ids, r.TaskID)
	}
	for i, ref := range cmd.Running {
		ids = append(ids, ref.TaskID)
		a, ok := heldAttempt(reader, ref, cmd.Incarnation)
		if result.Items[len(cmd.Ended)+i].Code != "" || !ok {
			reg.Fenced = append(reg.Fenced, ref)
			continue
		}
		reg.Adopted = append(reg.Adopted, command.Adopted{AttemptRef: ref, GiveUpAfter: command.Span(a.GiveUpAfterMs)})
	}
	w := d.queue.worker(cmd.ID)
	w.contact = received
	for _, ref := range reg.Fenced {
		if slices.Contains(cmd.Running, ref) {
			d.reportOrphanLocked(ctx, w, ref)
		}
	}
	d.refresh(reader, ids, []string{cmd.ID}, time.Now())
	if row, ok := reader.Worker(cmd.ID); ok {
		reg.Enabled = row.Enabled
	}
	return reg, nil
}

// reportOrphan reports an attempt that a worker runs although it is not its own any more. Nothing is written to the
// state for it, so only this report makes it known.
func (d *Dispatcher) reportOrphan(ctx context.Context, q *queue, worker string, ref command.AttemptRef) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q == d.queue && q != nil {
		d.reportOrphanLocked(ctx, q.worker(worker), ref)
	}
}

// reportOrphanLocked is reportOrphan with the lock held. It ignores attempts that the worker never had: a worker can
// invent any number of those.
func (d *Dispatcher) reportOrphanLocked(ctx context.Context, w *worker, ref command.AttemptRef) {
	if w.orphans[ref] {
		return // the worker names it in each exchange until the package has ended
	}
	if x, ok := d.cfg.State.Reader().Execution(ref.TaskID); !ok || !x.WasGiven(ref.Attempt, w.id) {
		return
	}
	if w.orphans == nil {
		w.orphans = map[command.AttemptRef]bool{}
	}
	w.orphans[ref] = true
	d.log.LogAttrs(ctx, slog.LevelWarn,
		"fenced: a worker still runs an attempt that is not its own any more; it is told to end it",
		slog.Int64(logkey.TaskID, ref.TaskID), slog.Int(logkey.Attempt, ref.Attempt), slog.String(logkey.Worker, w.id))
	if d.cfg.Orphan != nil {
		d.cfg.Orphan(w.id, ref)
	}
}

// holdOn renews the leases of the attempts that the worker says it runs, before the state gives them to the worker's
// new process: the worker counts the lease from the sending of this call, whatever the leader finds expired while the
// command is on its way. If an attempt is being declared lost, holdOn waits for the outcome first.
func (d *Dispatcher) holdOn(ctx context.Context, cmd *command.RegisterWorker, received time.Time) error {
	for {
		d.mu.Lock()
		q := d.queue
		if q == nil {
			d.mu.Unlock()
			return command.ErrNotLeader
		}
		wait := q.expiring(nil, cmd.Running, cmd.Ended)
		if wait == nil {
			for _, ref := range cmd.Running {
				if l := q.leases[ref]; l != nil && l.worker == cmd.ID {
					l.renew(received)
				}
			}
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkLease refuses a lease that is too short for the masters' timings: two held polls, a transfer, two elections and
// the guard's five seconds must fit into it.
func (d *Dispatcher) checkLease(cmd *command.RegisterWorker) error {
	lease, tolerance := command.Span(cmd.LeaseMs), command.Span(cmd.ToleranceMs)
	h := min(command.Span(cmd.TaskHeartbeatMs), lease/6)
	least := 2*h + 2*time.Second + 2*d.cfg.Election + 5*time.Second
	if lease > least && lease <= tolerance && h > 0 {
		return nil
	}
	return command.Refuse(command.CodeLeaseTooShort, lease, least, h, d.cfg.Election, tolerance)
}

// checkMachine refuses a second machine with the same AgentId while the first machine is online or its leases run.
// After that it notes in the command that the second machine takes over.
func (d *Dispatcher) checkMachine(ctx context.Context, cmd *command.RegisterWorker) error {
	if err := d.cfg.Node.Read(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return command.ErrNotLeader
	}
	row, ok := d.cfg.State.Reader().Worker(cmd.ID)
	if !ok || !row.BoundTo(cmd.CertName) || row.MachineID == cmd.MachineID {
		return nil // new, the same machine, or refused by the state itself
	}
	now := time.Now()
	w := d.queue.worker(cmd.ID)
	w.row = row
	if w.held > 0 || w.online(now) {
		return inUse(row, cmd)
	}
	cmd.TakeOver = row.MachineID
	return nil
}

func inUse(row *catalog.Worker, cmd *command.RegisterWorker) error {
	return command.Refuse(command.CodeAgentIDLeased, cmd.ID, row.MachineName, row.MachineID, cmd.MachineName,
		cmd.MachineID)
}
