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

// why a held poll ended.
type ending int

const (
	endTaken    ending = iota // tasks were reserved for it
	endChanged                // something that the worker must hear
	endReplaced               // a later exchange of the same worker
	endLost                   // this node leads no more
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

// Exchange settles what the worker reports, renews what it runs, delivers what state gives to it and hands out new
// tasks; with nothing to say it holds the call for at most p.Wait. The answer rests on a proof of leadership newer
// than p.Received. Rejections name a worker that must register first or again; other errors are the node's.
func (d *Dispatcher) Exchange(ctx context.Context, p command.Poll) (command.Answer, error) {
	x := &exchange{d: d, poll: p}
	if err := x.begin(ctx); err != nil {
		return command.Answer{}, err
	}
	if x.quiet() {
		// Proved before the hold: what the worker reads into the answer, however late it comes, is that its leases
		// count from the sending of this call.
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
	return x.answer()
}

// exchange is one call's way through the dispatcher.
type exchange struct {
	d      *Dispatcher
	poll   command.Poll
	board  *board // of the leadership that took the call: what was reserved on it is nothing to the next one
	row    *catalog.Worker
	worker *worker // to which the tasks are promised; one that registers after a deletion is another
	taken  []*task
	again  []command.AttemptRef // delivered again: state gives them, the worker does not name them
	fenced []command.AttemptRef
	alien  []command.AttemptRef // reported, and never given to this worker
	keeps  []command.AttemptRef // renewed
	stop   []command.AttemptRef
	done   []command.AttemptRef // settled
	given  []command.AttemptRef // granted by this exchange
	proved bool
}

// begin checks the caller, notes the contact, renews its leases and takes what is ready. It waits while an attempt of
// the caller is being declared lost.
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

// tryBegin is begin without the wait: it returns what to wait for before the next try. It looks at the state under the
// lock that expiry, grants and renewals take, so that what it decides cannot be older than what they did.
func (x *exchange) tryBegin() (wait <-chan struct{}, err error) {
	d, p := x.d, &x.poll
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.board
	if b == nil {
		return nil, command.ErrNotLeader
	}
	view := d.cfg.State.View()
	row, err := known(view, p)
	if err != nil {
		return nil, err
	}
	x.dismiss(view)
	if wait := b.expiring(heldBy(view, p.Worker, p.Instance), p.Running, p.Ended); wait != nil {
		return wait, nil
	}
	w := b.worker(p.Worker)
	x.board, x.row, x.worker = b, row, w
	// The same sequence again is a retransmission by another way: it takes the older one's place.
	if p.Sequence < w.sequence && w.instance == p.Instance {
		return nil, &command.Rejection{Code: "stale_sequence", Detail: fmt.Sprintf(
			"exchange %d of worker %s comes after exchange %d; sequence numbers must not fall", p.Sequence, p.Worker, w.sequence)}
	}
	w.row, w.contact, w.slots = row, p.Received, p.Slots
	if w.instance != p.Instance {
		w.strays = nil
	}
	w.instance, w.sequence, w.latest = p.Instance, p.Sequence, x
	if w.poll != nil {
		w.poll.end(endReplaced)
		w.poll = nil
	}
	x.look(view, w)
	if n := min(w.free()+len(p.Ended), p.Slots-len(x.keeps)-len(x.again), maxGrants); n > 0 && row.Enabled && len(x.again) == 0 {
		x.taken = b.take(w, n, time.Now())
	}
	return nil, nil
}

// dismiss takes out the reports on what the worker was never given: a worker may invent any number of them, and none is
// worth a place in the log.
func (x *exchange) dismiss(view *catalog.Reader) {
	x.poll.Ended = slices.DeleteFunc(slices.Clone(x.poll.Ended), func(r command.Report) bool {
		if e, ok := view.Execution(r.TaskID); ok && e.WasGiven(r.Attempt, x.poll.Worker) {
			return false
		}
		x.alien = append(x.alien, r.AttemptRef)
		return true
	})
}

// known is the worker's row if the caller may speak for it.
func known(view *catalog.Reader, p *command.Poll) (*catalog.Worker, error) {
	row, ok := view.Worker(p.Worker)
	switch {
	case !ok:
		return nil, &command.Rejection{Code: "worker_not_registered", Detail: fmt.Sprintf(
			"worker %s is not registered; register it first", p.Worker)}
	case row.CertName != p.CertName:
		return nil, &command.Rejection{Code: "agent_id_taken", Detail: fmt.Sprintf(
			"worker %s is bound to the certificate name %q, the caller's is %q", p.Worker, row.CertName, p.CertName)}
	case row.Instance != p.Instance:
		return nil, &command.Rejection{Code: "instance_replaced", Detail: fmt.Sprintf(
			"worker %s is registered with another instance; register again", p.Worker)}
	}
	return row, nil
}

// heldBy are the attempts that state gives to one process of a worker.
func heldBy(view *catalog.Reader, worker, instance string) []command.AttemptRef {
	var refs []command.AttemptRef
	for e := range view.HeldBy(worker) {
		if a := &e.Attempts[len(e.Attempts)-1]; a.Instance == instance {
			refs = append(refs, command.AttemptRef{TaskID: e.ID, Attempt: a.Number})
		}
	}
	return refs
}

// heldAttempt is the attempt if state gives it to this process of a worker.
func heldAttempt(view *catalog.Reader, ref command.AttemptRef, instance string) (*catalog.Attempt, bool) {
	e, ok := view.Execution(ref.TaskID)
	if !ok || len(e.Attempts) == 0 {
		return nil, false
	}
	a := &e.Attempts[len(e.Attempts)-1]
	return a, a.Number == ref.Attempt && a.Held() && a.Instance == instance
}

// expiring is the mark of a lease that the caller would renew, report on or be given again, if there is one. An attempt
// that the worker does not name counts too: given again while it is being declared lost, it would run beside the next.
func (b *board) expiring(held, running []command.AttemptRef, ended []command.Report) chan struct{} {
	for _, ref := range held {
		if l := b.leases[ref]; l != nil && l.expiring != nil {
			return l.expiring
		}
	}
	for _, ref := range running {
		if l := b.leases[ref]; l != nil && l.expiring != nil {
			return l.expiring
		}
	}
	for _, r := range ended {
		if l := b.leases[r.AttemptRef]; l != nil && l.expiring != nil {
			return l.expiring
		}
	}
	return nil
}

// look compares what the worker says it runs with what state gives to it. The caller holds the lock.
func (x *exchange) look(view *catalog.Reader, w *worker) {
	b, p := x.d.board, &x.poll
	x.keeps, x.stop, x.again, x.fenced = nil, nil, nil, nil
	mine := map[command.AttemptRef]bool{}
	for e := range view.HeldBy(p.Worker) {
		a := &e.Attempts[len(e.Attempts)-1]
		if a.Instance != p.Instance {
			continue
		}
		ref := command.AttemptRef{TaskID: e.ID, Attempt: a.Number}
		mine[ref] = true
		ended := slices.ContainsFunc(p.Ended, func(r command.Report) bool { return r.AttemptRef == ref })
		if ended || slices.Contains(x.given, ref) {
			continue
		}
		if b.leases[ref] == nil { // the state is ahead of the last Touch
			b.place(e, time.Now())
		}
		b.leases[ref].renew(p.Received)
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

// quiet reports whether there is nothing to tell the worker yet.
func (x *exchange) quiet() bool {
	return len(x.taken)+len(x.again)+len(x.fenced)+len(x.stop)+len(x.poll.Ended)+len(x.alien) == 0
}

// bound is the longest time that a poll may be held: short enough for a renewal to come in time.
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
	b := d.board
	if b == nil || b != x.board {
		d.mu.Unlock()
		return command.ErrNotLeader
	}
	w := b.worker(x.poll.Worker)
	if w.latest != x { // replaced while leadership was proved
		d.mu.Unlock()
		return nil
	}
	// What changed since begin has found no poll to wake.
	view := d.cfg.State.View()
	if row, ok := view.Worker(x.poll.Worker); !ok || row.Enabled != x.row.Enabled {
		d.mu.Unlock()
		return nil
	}
	if x.look(view, w); !x.quiet() {
		d.mu.Unlock()
		return nil
	}
	held := &poll{since: time.Now(), done: make(chan struct{})}
	w.poll = held
	b.assign(time.Now())
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
		if cause != nil && d.board == b {
			b.putBack(w, x.taken)
			b.assign(time.Now())
			x.taken = nil
		}
	case endLost:
		return command.ErrNotLeader
	case endChanged:
		if d.board == b {
			x.look(d.cfg.State.View(), w)
		}
	}
	return cause
}

// commit proposes reports and grants in one command and notes what the state made of each.
func (x *exchange) commit(ctx context.Context) error {
	d, p := x.d, &x.poll
	if len(p.Ended)+len(x.taken) == 0 {
		return nil
	}
	cmd := &command.Exchange{Worker: p.Worker, Instance: p.Instance, Ended: p.Ended}
	for _, t := range x.taken {
		cmd.Grants = append(cmd.Grants, command.GrantOrder{
			AttemptRef: ref(t), GiveUpAfterMs: t.giveUp(x.row).Milliseconds(),
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

// granted ends the reservation of an exchange's tasks, whatever became of them: the state tells.
func (d *Dispatcher) granted(x *exchange, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.board == nil || d.board != x.board {
		return
	}
	now := time.Now()
	for _, t := range x.taken {
		if slices.Contains(x.given, ref(t)) {
			d.metrics.latency.Observe(now.Sub(t.ready).Seconds())
		}
	}
	d.board.putBack(x.worker, x.taken)
	ids := make([]int64, 0, len(x.taken)+len(x.poll.Ended))
	for _, t := range x.taken {
		ids = append(ids, t.id)
	}
	for _, r := range x.poll.Ended {
		ids = append(ids, r.TaskID)
	}
	d.refresh(d.cfg.State.View(), ids, nil, now)
}

// answer reads the grants' content from the state.
func (x *exchange) answer() (command.Answer, error) {
	view := x.d.cfg.State.View()
	for _, ref := range x.fenced {
		if slices.Contains(x.poll.Running, ref) { // of one that ended the state tells
			x.d.stray(x.board, x.poll.Worker, ref)
		}
	}
	out := command.Answer{Stop: x.stop, Renewed: x.keeps, Settled: x.done, Fenced: append(x.fenced, x.alien...), Enabled: x.row.Enabled}
	if row, ok := view.Worker(x.poll.Worker); ok {
		out.Enabled = row.Enabled
	}
	for _, ref := range append(x.again, x.given...) {
		g, ok := grant(view, ref, x.poll.Instance)
		if !ok {
			continue // stopped or taken over since: the next exchange says so
		}
		out.Grants = append(out.Grants, g)
	}
	return out, nil
}

// grant is an attempt as the worker needs it.
func grant(view *catalog.Reader, ref command.AttemptRef, instance string) (command.Grant, bool) {
	a, ok := heldAttempt(view, ref, instance)
	if !ok {
		return command.Grant{}, false
	}
	e, _ := view.Execution(ref.TaskID)
	v, ok := view.Version(e.Version)
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
