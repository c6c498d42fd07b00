package dispatch

import (
	"slices"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// lagging is a state that changes just after the dispatcher has looked at it, wherever the dispatcher lets that happen:
// a look under its lock cannot be overtaken by what takes the same lock.
type lagging struct {
	*harness
	skip   int    // looks that are not followed by a change
	change func() // done after the next look, once; nil: nothing
	slow   bool   // the change came between a look and its lock
}

func (l *lagging) Reader() *catalog.Reader {
	reader := l.harness.Reader()
	if l.change == nil {
		return reader
	}
	if l.skip > 0 {
		l.skip--
		return reader
	}
	if l.harness.d.mu.TryLock() {
		l.harness.d.mu.Unlock()
		change := l.change
		l.change, l.slow = nil, true
		change()
	}
	return reader
}

// lag makes the dispatcher's looks old while f runs, and then lets the change happen if it has not.
func (h *harness) lag(skip int, change, f func()) {
	l := &lagging{harness: h, skip: skip, change: change}
	h.d.cfg.State = l
	f()
	h.d.cfg.State = h
	if !l.slow {
		l.change = nil
		change()
	}
}

// An attempt that is declared lost while its worker's call arrives is not renewed on the word of the state before that,
// and its retry keeps its place in the queue.
func TestALostAttemptIsNotRenewed(t *testing.T) {
	for name, way := range map[string]func(p *command.Poll, ref command.AttemptRef){
		"running":   func(p *command.Poll, ref command.AttemptRef) { p.Running = []command.AttemptRef{ref} },
		"not named": func(*command.Poll, command.AttemptRef) {},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(h *harness) {
				h.worker(one, 1)
				id := h.start("a.sh", 1)
				h.exchange(h.poll(one))
				time.Sleep(fullLease(leaseOf))
				h.worker(two, 1)
				h.exchange(h.poll(two))
				p := h.poll(one)
				p.Slots = 1
				way(&p, at(id, 1))
				lost := false
				h.lag(0, func() {
					h.sweep()
					e, _ := h.Reader().Execution(id)
					lost = e.Status == catalog.Pending
				}, func() {
					a := h.exchange(p)
					if lost && (slices.Contains(a.Renewed, at(id, 1)) || len(a.Grants) > 0) {
						t.Errorf("an attempt that the state has declared lost is answered as the worker's: %+v", a)
					}
				})
				if l := h.d.queue.leases[at(id, 1)]; lost && l != nil {
					t.Error("a lost attempt has a lease")
				}
				if lost {
					h.status(id, catalog.Pending)
					time.Sleep(6 * time.Second) // the retry's wait
					h.gives("the retry", h.exchange(h.poll(two)), id)
				}
			})
		})
	}
}

// What a registration settles may have gone on before the registration looks at the outcome.
func TestARegistrationLooksAtTheStateOfItsMoment(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		id := h.start("a.sh", 1)
		h.exchange(h.poll(one))
		h.worker(two, 1)
		again := registration(one, "i2", 1, ".sh")
		again.Ended = []command.Report{report(id, 1, command.Failed)}
		// Looks: for the machine, at the command's own change, at its outcome.
		h.lag(2, func() {
			time.Sleep(6 * time.Second)
			h.d.cfg.State = h
			h.gives("the retry", h.exchange(h.poll(two)), id)
		}, func() {
			if _, err := h.d.Register(h.ctx, again, time.Now()); err != nil {
				t.Fatal(err)
			}
		})
		h.status(id, catalog.Running)
		if code, args, ok := h.d.Reason(id); ok {
			t.Errorf("a running attempt stands in the queue: %s %q", code, args)
		}
		if _, ok := h.d.LeaseUntil(at(id, 2)); !ok {
			t.Error("a running attempt has no lease")
		}
	})
}

// An attempt that a new process goes on with, and that ended otherwise before the registration is answered, is fenced.
func TestARegistrationAdoptsOnlyWhatIsItsOwn(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		id := h.start("a.sh", 1)
		h.exchange(h.poll(one))
		again := registration(one, "i2", 1, ".sh")
		again.Running = []command.AttemptRef{at(id, 1)}
		h.after = func(cmd command.Command) error {
			if _, ok := cmd.(*command.RegisterWorker); ok {
				h.after = nil
				time.Sleep(fullLease(leaseOf))
				h.sweep()
			}
			return nil
		}
		reg, err := h.d.Register(h.ctx, again, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		h.status(id, catalog.Pending)
		if len(reg.Adopted) > 0 || !slices.Contains(reg.Fenced, at(id, 1)) {
			t.Errorf("a lost attempt goes on under the new process: %+v", reg)
		}
	})
}

// What changes while a new leader builds its queue is in the queue.
func TestAQueueIsBuiltOfTheStateOfItsMoment(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		id := h.start("a.sh", 0)
		h.d.Drop()
		h.lag(0, func() { h.do(&command.StopOperation{OperationID: id}) }, h.d.Establish)
		h.status(id, catalog.Canceled)
		if code, _, ok := h.d.Reason(id); ok {
			t.Errorf("a canceled execution stands in the queue: %s", code)
		}
	})
}
