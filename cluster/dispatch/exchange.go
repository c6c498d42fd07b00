package dispatch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// maxGrants bounds the grants of one exchange, and so the size of its command and its answer.
const maxGrants = 64

// ending is why a held poll ended.
type ending int

const (
	endTaken    ending = iota // tasks were reserved for it
	endChanged                // something happened that the worker must hear of
	endReplaced               // a later exchange of the same worker came
	endLost                   // this node does not lead any more
)

// poll is an exchange that is held until there is something to say.
type poll struct {
	since  time.Time
	taken  []*task
	reason ending
	done   chan struct{}
}

func (p *poll) end(reason ending) {
	p.reason = reason
	close(p.done)
}

// Exchange settles what the worker reports, renews what it runs, delivers what the state gives to it and hands out new
// tasks. If there is nothing to say, it holds the call for at most p.Wait. The answer rests on a proof of leadership
// that is newer than p.Received. A Rejection means that the worker must register, for the first time or again; other
// errors are the node's.
func (d *Dispatcher) Exchange(ctx context.Context, p command.Poll) (command.Answer, error) {
	x := &exchange{d: d, poll: p}
	if err := x.begin(ctx); err != nil {
		return command.Answer{}, err
	}
	if x.quiet() {
		// Leadership is proved before the hold: however late the answer comes, the worker takes it to mean that its
		// leases count from the sending of this call.
		if err := d.cfg.Node.Read(ctx); err != nil {
			return command.Answer{}, err
		}
		x.proved = true
		if err := x.hold(ctx); err != nil {
			return command.Answer{}, err
		}
	}
	if err := x.commit(ctx); err != nil {
		return command.Answer{}, err
	}
	if !x.proved {
		if err := d.cfg.Node.Read(ctx); err != nil {
			return command.Answer{}, err
		}
	}
	return x.answer(ctx)
}

// exchange is one call's way through the dispatcher.
type exchange struct {
	d      *Dispatcher
	poll   command.Poll
	queue  *queue // of the leadership that took the call; the next leadership knows nothing of what was reserved on it
	row    *catalog.Worker
	worker *worker // to which the tasks are promised; after a deletion the same id is another worker
	taken  []*task
	again  []command.AttemptRef // delivered again: the state gives them, the worker does not name them
	fenced []command.AttemptRef
	alien  []command.AttemptRef // reported, and never given to this worker
	keeps  []command.AttemptRef // renewed
	stop   []command.AttemptRef
	done   []command.AttemptRef // settled
	given  []command.AttemptRef // granted by this exchange
	proved bool
}

// begin checks the caller, notes the contact, renews the caller's leases and reserves ready tasks. It waits while an
// attempt of the caller is being declared lost.
func (x *exchange) begin(ctx context.Context) error {
	for {
		wait, err := x.tryBegin()
		if wait == nil {
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryBegin is begin without the wait: it returns what to wait for before the next try. It reads the state under the
// lock that expiry, grants and renewals take, so its decision cannot rest on an older state than theirs.
func (x *exchange) tryBegin() (wait <-chan struct{}, err error) {
	d, p := x.d, &x.poll
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queue
	if q == nil {
		return nil, command.ErrNotLeader
	}
	reader := d.cfg.State.Reader()
	row, err := known(reader, p)
	if err != nil {
		return nil, err
	}
	x.dismiss(reader)
	if wait := q.expiring(heldBy(reader, p.Worker, p.Incarnation), p.Running, p.Ended); wait != nil {
		return wait, nil
	}
	w := q.worker(p.Worker)
	x.queue, x.row, x.worker = q, row, w
	// The same sequence number again is a retransmission that took another way: it replaces the older call.
	if p.Sequence < w.sequence && w.incarnation == p.Incarnation {
		return nil, command.Refuse(command.CodeStaleSequence, int64(p.Sequence), p.Worker, int64(w.sequence))
	}
	w.row, w.contact, w.slots = row, p.Received, p.Slots
	if w.incarnation != p.Incarnation {
		w.orphans = nil
	}
	w.incarnation, w.sequence, w.latest = p.Incarnation, p.Sequence, x
	if w.poll != nil {
		w.poll.end(endReplaced)
		w.poll = nil
	}
	x.look(reader, w)
	if n := min(w.free()+len(p.Ended), p.Slots-len(x.keeps)-len(x.again), maxGrants); n > 0 && row.Enabled &&
		len(x.again) == 0 {
		x.taken = q.take(w, n, time.Now())
	}
	return nil, nil
}

// dismiss takes out the reports on attempts that the worker was never given: a worker can invent any number of them,
// and none may take room in the log.
func (x *exchange) dismiss(reader *catalog.Reader) {
	x.poll.Ended = slices.DeleteFunc(slices.Clone(x.poll.Ended), func(r command.Report) bool {
		if e, ok := reader.Execution(r.TaskID); ok && e.WasGiven(r.Attempt, x.poll.Worker) {
			return false
		}
		x.alien = append(x.alien, r.AttemptRef)
		return true
	})
}

// known returns the worker's row if the caller may speak for that worker.
func known(reader *catalog.Reader, p *command.Poll) (*catalog.Worker, error) {
	row, ok := reader.Worker(p.Worker)
	switch {
	case !ok:
		return nil, command.Refuse(command.CodeWorkerNotRegistered, p.Worker)
	case !row.BoundTo(p.CertName):
		return nil, command.Refuse(command.CodeAgentIDTaken, p.Worker, row.CertName, p.CertName)
	case row.Incarnation != p.Incarnation:
		return nil, command.Refuse(command.CodeInstanceReplaced, p.Worker)
	}
	return row, nil
}

// heldBy returns the attempts that the state gives to one process of a worker.
func heldBy(reader *catalog.Reader, worker, incarnation string) []command.AttemptRef {
	var refs []command.AttemptRef
	for e := range reader.HeldBy(worker) {
		if a := &e.Attempts[len(e.Attempts)-1]; a.Incarnation == incarnation {
			refs = append(refs, command.AttemptRef{TaskID: e.ID, Attempt: a.Number})
		}
	}
	return refs
}

// heldAttempt returns the attempt, and whether the state gives it to this process of the worker.
func heldAttempt(reader *catalog.Reader, ref command.AttemptRef, incarnation string) (*catalog.Attempt, bool) {
	e, ok := reader.Execution(ref.TaskID)
	if !ok || len(e.Attempts) == 0 {
		return nil, false
	}
	a := &e.Attempts[len(e.Attempts)-1]
	return a, a.Number == ref.Attempt && a.Held() && a.Incarnation == incarnation
}

// expiring returns the mark of a lease that the caller would renew, report on or be given again, or nil. An attempt
// that the worker does not name counts too: delivered again while it is being declared lost, it would run beside the
// next one.
func (q *queue) expiring(held, running []command.AttemptRef, ended []command.Report) chan struct{} {
	for _, ref := range held {
		if l := q.leases[ref]; l != nil && l.expiring != nil {
			return l.expiring
		}
	}
	for _, ref := range running {
		if l := q.leases[ref]; l != nil && l.expiring != nil {
			return l.expiring
		}
	}
	for _, r := range ended {
		if l := q.leases[r.AttemptRef]; l != nil && l.expiring != nil {
			return l.expiring
		}
	}
	return nil
}

// look compares what the worker says it runs with what the state gives to it. The caller holds the lock.
func (x *exchange) look(reader *catalog.Reader, w *worker) {
	q, p := x.d.queue, &x.poll
	x.keeps, x.stop, x.again, x.fenced = nil, nil, nil, nil
	mine := map[command.AttemptRef]bool{}
	for e := range reader.HeldBy(p.Worker) {
		a := &e.Attempts[len(e.Attempts)-1]
		if a.Incarnation != p.Incarnation {
			continue
		}
		ref := command.AttemptRef{TaskID: e.ID, Attempt: a.Number}
		mine[ref] = true
		ended := slices.ContainsFunc(p.Ended, func(r command.Report) bool { return r.AttemptRef == ref })
		if ended || slices.Contains(x.given, ref) {
			continue
		}
		if q.leases[ref] == nil { // the state is ahead of the last Touch
			q.place(e, time.Now())
		}
		q.leases[ref].renew(p.Received)
		if slices.Contains(p.Running, ref) {
			x.keeps = append(x.keeps, ref)
		} else {
			x.again = append(x.again, ref)
		}
		if e.Status == catalog.Stopping {
			x.stop = append(x.stop, ref)
		}
	}
	for _, ref := range p.Running {
		if !mine[ref] {
			x.fenced = append(x.fenced, ref)
		}
	}
}

// quiet reports whether there is nothing to answer yet.
func (x *exchange) quiet() bool {
	return len(x.taken)+len(x.again)+len(x.fenced)+len(x.stop)+len(x.poll.Ended)+len(x.alien) == 0
}

// bound is how long the poll may be held: short enough for the next renewal to come in time.
func (x *exchange) bound() time.Duration {
	lease := command.Span(x.row.LeaseMs)
	limit := min(30*time.Second, lease/3)
	if len(x.poll.Running) > 0 {
		limit = min(command.Span(x.row.TaskHeartbeatMs), lease/6)
	}
	return min(limit, x.poll.Wait)
}

// hold waits until there is something to say.
func (x *exchange) hold(ctx context.Context) error {
	d := x.d
	limit := x.bound()
	if limit <= 0 {
		return nil
	}
	d.mu.Lock()
	q := d.queue
	if q == nil || q != x.queue {
		d.mu.Unlock()
		return command.ErrNotLeader
	}
	w := q.worker(x.poll.Worker)
	if w.latest != x { // replaced while leadership was proved
		d.mu.Unlock()
		return nil
	}
	// A change since begin found no poll that it could wake, so it is looked for here.
	reader := d.cfg.State.Reader()
	if row, ok := reader.Worker(x.poll.Worker); !ok || row.Enabled != x.row.Enabled {
		d.mu.Unlock()
		return nil
	}
	if x.look(reader, w); !x.quiet() {
		d.mu.Unlock()
		return nil
	}
	held := &poll{since: time.Now(), done: make(chan struct{})}
	w.poll = held
	q.assign(time.Now())
	d.mu.Unlock()

	timer := time.NewTimer(limit)
	defer timer.Stop()
	var cause error
	select {
	case <-held.done:
	case <-timer.C:
	case <-ctx.Done():
		cause = ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.poll == held {
		w.poll = nil
		return cause
	}
	switch held.reason {
	case endTaken:
		x.taken = held.taken
		if cause != nil && d.queue == q {
			q.putBack(w, x.taken)
			q.assign(time.Now())
			x.taken = nil
		}
	case endLost:
		return command.ErrNotLeader
	case endChanged:
		if d.queue == q {
			x.look(d.cfg.State.Reader(), w)
		}
	}
	return cause
}

// commit proposes reports and grants in one command and notes the result of each.
func (x *exchange) commit(ctx context.Context) error {
	d, p := x.d, &x.poll
	if len(p.Ended)+len(x.taken) == 0 {
		return nil
	}
	cmd := &command.Exchange{Worker: p.Worker, Incarnation: p.Incarnation, Ended: p.Ended}
	for _, t := range x.taken {
		cmd.Grants = append(cmd.Grants, command.GrantOrder{
			AttemptRef: attemptRef(t), GiveUpAfterMs: t.giveUp(x.row).Milliseconds(),
		})
	}
	env, err := command.Wrap(cmd)
	if err != nil {
		return err
	}
	env.Caller = command.Caller{Kind: "worker", Name: p.CertName}
	result, _, err := d.cfg.Node.Propose(ctx, env)
	if err == nil && result.Rejection != nil {
		err = result.Rejection
	}
	if err == nil && len(result.Items) != len(cmd.Ended)+len(cmd.Grants) {
		err = fmt.Errorf("the state machine answered %d items to %d", len(result.Items), len(cmd.Ended)+len(cmd.Grants))
	}
	if err == nil {
		x.proved = true
		for i, r := range cmd.Ended {
			if result.Items[i].Code == "" {
				x.done = append(x.done, r.AttemptRef)
			} else {
				x.fenced = append(x.fenced, r.AttemptRef)
			}
		}
		for i, g := range cmd.Grants {
			if result.Items[len(cmd.Ended)+i].Code == "" {
				x.given = append(x.given, g.AttemptRef)
			}
		}
	}
	d.granted(x, err)
	return err
}

// granted ends the reservation of an exchange's tasks and brings the queue in line with what the state made of them.
func (d *Dispatcher) granted(x *exchange, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil || d.queue != x.queue {
		return
	}
	now := time.Now()
	for _, t := range x.taken {
		if slices.Contains(x.given, attemptRef(t)) {
			d.metrics.latency.Observe(now.Sub(t.ready).Seconds())
		}
	}
	d.queue.putBack(x.worker, x.taken)
	ids := make([]int64, 0, len(x.taken)+len(x.poll.Ended))
	for _, t := range x.taken {
		ids = append(ids, t.id)
	}
	for _, r := range x.poll.Ended {
		ids = append(ids, r.TaskID)
	}
	d.refresh(d.cfg.State.Reader(), ids, nil, now)
}

// answer reads the grants' content from the state.
func (x *exchange) answer(ctx context.Context) (command.Answer, error) {
	reader := x.d.cfg.State.Reader()
	for _, ref := range x.fenced {
		if slices.Contains(x.poll.Running, ref) { // an attempt that ended is noted in the state
			x.d.reportOrphan(ctx, x.queue, x.poll.Worker, ref)
		}
	}
	out := command.Answer{Stop: x.stop, Renewed: x.keeps, Settled: x.done, Fenced: append(x.fenced, x.alien...),
		Enabled: x.row.Enabled}
	if row, ok := reader.Worker(x.poll.Worker); ok {
		out.Enabled = row.Enabled
	}
	for _, ref := range append(x.again, x.given...) {
		g, ok := grant(reader, ref, x.poll.Incarnation)
		if !ok {
			continue // stopped or taken over meanwhile: the next exchange says so
		}
		out.Grants = append(out.Grants, g)
	}
	return out, nil
}

// grant is an attempt as the worker needs it.
func grant(reader *catalog.Reader, ref command.AttemptRef, incarnation string) (command.Grant, bool) {
	a, ok := heldAttempt(reader, ref, incarnation)
	if !ok {
		return command.Grant{}, false
	}
	e, _ := reader.Execution(ref.TaskID)
	v, ok := reader.Version(e.Version)
	if !ok {
		return command.Grant{}, false
	}
	parameters, options, password := catalog.GrantParameters(v, e)
	return command.Grant{
		AttemptRef: ref, ExecutionID: e.ID, Folder: e.Folder, Project: e.Project, Package: e.Package,
		ProjectID: e.ProjectID, VersionLSN: e.Version, ProjectBlob: v.Blob,
		Parameters: parameters, Options: options, Use32Bit: e.Use32Bit, ProjectPassword: password,
		GiveUpAfter: command.Span(a.GiveUpAfterMs),
	}, true
}
