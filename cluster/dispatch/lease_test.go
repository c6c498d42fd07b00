package dispatch

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

func (h *harness) until(ref command.AttemptRef, want time.Time) {
	h.Helper()
	got, ok := h.d.LeaseUntil(ref)
	if !ok || !got.Equal(want) {
		h.Errorf("the lease ends %v, want %v", got, want)
	}
}

func fullLease(d time.Duration) time.Duration { return d + 5*time.Second + d/100 }

func TestLeaseDurations(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 4)
		only, first := h.start("a.sh", 0), h.start("a.sh", 1)
		granted := time.Now()
		a := h.exchange(h.poll(one))
		h.gives("both", a, only, first)
		if a.Grants[0].GiveUpAfter != toleranceOf || a.Grants[1].GiveUpAfter != leaseOf {
			t.Errorf("leases of %v and %v: the last permitted attempt gets the tolerance, another the lease",
				a.Grants[0].GiveUpAfter, a.Grants[1].GiveUpAfter)
		}
		h.until(at(only, 1), granted.Add(fullLease(toleranceOf)))
		h.until(at(first, 1), granted.Add(fullLease(leaseOf)))

		// A renewal counts from when the call was received, not from when it is answered.
		time.Sleep(10 * time.Second)
		p := h.poll(one)
		p.Running, p.Wait = []command.AttemptRef{at(only, 1), at(first, 1)}, time.Minute
		r := <-h.held(p)
		if r.err != nil || !slices.Equal(r.Renewed, p.Running) {
			t.Fatalf("%+v", r)
		}
		if took := time.Since(p.Received); took != 10*time.Second {
			t.Errorf("held for %v, the heartbeat is 10s", took)
		}
		h.until(at(first, 1), p.Received.Add(fullLease(leaseOf)))

		// An older call never takes time away.
		late := h.poll(one)
		late.Running, late.Received = p.Running, p.Received.Add(-5*time.Second)
		h.exchange(late)
		h.until(at(first, 1), p.Received.Add(fullLease(leaseOf)))

		time.Sleep(3 * time.Second)
		h.d.ExtendAll()
		h.until(at(first, 1), time.Now().Add(fullLease(leaseOf)))

		time.Sleep(3 * time.Second)
		h.d.Drop()
		h.d.Establish()
		h.until(at(first, 1), time.Now().Add(fullLease(leaseOf)))

		// The second attempt of two is the last permitted one.
		time.Sleep(fullLease(leaseOf) - time.Nanosecond)
		h.sweep()
		h.status(first, catalog.Running)
		time.Sleep(time.Nanosecond)
		h.sweep()
		h.status(first, catalog.Pending)
		h.status(only, catalog.Running)
		time.Sleep(15 * time.Second) // the retry wait, and the wait for another worker
		p = h.poll(one)
		p.Running = []command.AttemptRef{at(only, 1)}
		a = h.exchange(p)
		if len(a.Grants) != 1 || a.Grants[0].AttemptRef != at(first, 2) || a.Grants[0].GiveUpAfter != toleranceOf {
			t.Errorf("%+v", a.Grants)
		}
	})
}

func (h *harness) sweep() {
	h.Helper()
	if err := h.d.Sweep(h.ctx); err != nil {
		h.Fatal(err)
	}
}

func TestAFencedReport(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		id := h.start("a.sh", 1)
		h.exchange(h.poll(one))
		time.Sleep(fullLease(leaseOf))
		h.sweep()
		var orphans []command.AttemptRef
		h.d.cfg.Orphan = func(_ string, ref command.AttemptRef) { orphans = append(orphans, ref) }
		for range 3 {
			p := h.poll(one)
			p.Slots, p.Running = 0, []command.AttemptRef{at(id, 1), at(id, 5), at(1<<40, 1)} // the others it never had
			if a := h.exchange(p); len(a.Fenced) != 3 || !slices.Contains(a.Fenced, at(id, 1)) || len(a.Renewed) > 0 {
				t.Errorf("a lost attempt that still runs: %+v", a)
			}
		}
		if !slices.Equal(orphans, []command.AttemptRef{at(id, 1)}) {
			t.Errorf("reported %v, once each is right", orphans)
		}
		p := h.poll(one)
		p.Slots, p.Ended = 0, []command.Report{report(id, 1, command.Succeeded)}
		if a := h.exchange(p); !slices.Contains(a.Fenced, at(id, 1)) || len(a.Settled) > 0 {
			t.Errorf("its report: %+v", a)
		}
		h.status(id, catalog.Pending)
	})
}

// While an attempt is being declared lost nobody renews it, reports on it or is given it again, and an unknown outcome
// is waited out, whatever else fails meanwhile.
func TestExpiryAgainstRenewals(t *testing.T) {
	ways := map[string]func(p *command.Poll, ref command.AttemptRef){
		"renewed": func(p *command.Poll, ref command.AttemptRef) { p.Running = []command.AttemptRef{ref} },
		"ended": func(p *command.Poll, ref command.AttemptRef) {
			p.Ended = []command.Report{{AttemptRef: ref, Outcome: command.Succeeded}}
		},
		"unnamed": func(*command.Poll, command.AttemptRef) {},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			within(t, func(h *harness) {
				h.worker(one, 1)
				id := h.start("a.sh", 1)
				h.exchange(h.poll(one))
				time.Sleep(fullLease(leaseOf))
				set(h, &h.before, func(cmd command.Command) error {
					if _, ok := cmd.(*command.Expire); ok {
						return errUnknown
					}
					return nil
				})
				if err := h.d.Sweep(h.ctx); !errors.Is(err, errUnknown) {
					t.Fatal(err)
				}
				p := h.poll(one)
				p.Slots = 1
				way(&p, at(id, 1))
				out := h.held(p)
				if ended(out) {
					t.Fatalf("answered while the outcome is unknown: %v", <-out)
				}
				set(h, &h.read, func() error { return errUnapplied })
				if err := h.d.Sweep(h.ctx); err == nil {
					t.Fatal("no error")
				}
				synctest.Wait()
				set(h, &h.read, nil)
				set(h, &h.before, func(command.Command) error { return errUnapplied })
				if err := h.d.Sweep(h.ctx); err == nil {
					t.Fatal("no error")
				}
				synctest.Wait()
				if ended(out) {
					t.Fatalf("answered while the first command may still be applied: %v", <-out)
				}
				set(h, &h.before, nil)
				h.sweep()
				synctest.Wait()
				if !ended(out) {
					t.Fatal("still held")
				}
				r := <-out
				if r.err != nil || len(r.Renewed)+len(r.Settled)+len(r.Grants) > 0 {
					t.Errorf("%+v", r)
				}
				if name != "unnamed" && !slices.Contains(r.Fenced, at(id, 1)) {
					t.Errorf("not fenced: %+v", r)
				}
				h.status(id, catalog.Pending)
			})
		})
	}
}

// A sweep of more attempts than one command takes, of which none is applied, leaves no mark on any of them.
func TestASweepThatFailsMarksNobody(t *testing.T) {
	within(t, func(h *harness) {
		const n = expireBatch + 10
		h.worker(one, n)
		var all []command.AttemptRef
		for range n {
			all = append(all, at(h.start("a.sh", 0), 1))
		}
		for held := 0; held < n; {
			p := h.poll(one)
			p.Running = all[:held]
			held += len(h.exchange(p).Grants)
		}
		<-time.After(fullLease(toleranceOf))
		set(h, &h.before, func(command.Command) error { return errUnapplied })
		if err := h.d.Sweep(h.ctx); !errors.Is(err, errUnapplied) {
			t.Fatal(err)
		}
		set(h, &h.before, nil)
		p := h.poll(one)
		p.Running = all
		out := h.held(p)
		if !ended(out) {
			t.Fatal("a call waits for the end of a sweep that is over")
		}
		if r := <-out; r.err != nil || len(r.Renewed) != n {
			t.Errorf("%d of %d renewed, %v", len(r.Renewed), n, r.err)
		}
	})
}

// A deposed leader declares nobody lost, and renews nothing.
func TestWithoutProof(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		id := h.start("a.sh", 0)
		h.exchange(h.poll(one))
		set(h, &h.read, func() error { return errUnapplied })
		p := h.poll(one)
		p.Running = []command.AttemptRef{at(id, 1)}
		if _, err := h.d.Exchange(h.ctx, p); !errors.Is(err, errUnapplied) {
			t.Errorf("renewed without a proof: %v", err)
		}
		time.Sleep(fullLease(toleranceOf))
		if err := h.d.Sweep(h.ctx); !errors.Is(err, errUnapplied) {
			t.Error(err)
		}
		h.status(id, catalog.Running)
		set(h, &h.read, nil)
		p = h.poll(one)
		p.Running = []command.AttemptRef{at(id, 1)}
		if a := h.exchange(p); !slices.Contains(a.Renewed, at(id, 1)) {
			t.Errorf("the mark of a sweep that did nothing stays: %+v", a)
		}
	})
}

// What a leadership reserved is nothing to the next one, though the proposal ends under it.
func TestReservationsEndWithTheLeadership(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		h.start("a.sh", 0)
		set(h, &h.before, func(command.Command) error {
			set(h, &h.before, nil)
			h.d.Drop()
			h.d.Establish()
			return errUnapplied
		})
		if _, err := h.d.Exchange(h.ctx, h.poll(one)); err == nil {
			t.Fatal("no error")
		}
		if w := h.d.queue.worker(one); w.promised != 0 {
			t.Errorf("%d grants promised under the new leadership", w.promised)
		}
	})
}

func TestHeldPollsEndWithTheLeadership(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		p := h.poll(one)
		p.Wait = 20 * time.Second
		out := h.held(p)
		h.d.Drop()
		if r := <-out; !errors.Is(r.err, command.ErrNotLeader) {
			t.Errorf("%v", r)
		}
		if time.Since(p.Received) > 0 {
			t.Error("it was held on")
		}
	})
}

func TestRegistrationAdoptsAndFences(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 3)
		runs, done, left := h.start("a.sh", 0), h.start("a.sh", 0), h.start("a.sh", 1)
		h.gives("three", h.exchange(h.poll(one)), runs, done, left)
		time.Sleep(30 * time.Second)
		reg := registration(one, "i2", 3, ".sh")
		reg.Running = []command.AttemptRef{at(runs, 1), at(999, 1)}
		reg.Ended = []command.Report{report(done, 1, command.Succeeded)}
		got, err := h.d.Register(h.ctx, reg, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		goesOn := command.Adopted{AttemptRef: at(runs, 1), GiveUpAfter: toleranceOf}
		if !got.Enabled || len(got.Adopted) != 1 || got.Adopted[0] != goesOn ||
			!slices.Equal(got.Settled, []command.AttemptRef{at(done, 1)}) ||
			!slices.Equal(got.Fenced, []command.AttemptRef{at(999, 1)}) {
			t.Errorf("%+v", got)
		}
		h.until(at(runs, 1), time.Now().Add(fullLease(toleranceOf)))
		h.status(done, catalog.Succeeded)
		// What the new process does not know of goes on until its lease has run out.
		h.status(left, catalog.Running)
		p := h.poll(one)
		p.Incarnation, p.Running = "i2", []command.AttemptRef{at(runs, 1)}
		if a := h.exchange(p); len(a.Grants) > 0 {
			t.Errorf("an attempt of the old process is given to the new one: %+v", a.Grants)
		}
		old := h.poll(one)
		old.Incarnation = "i1"
		if _, err := h.d.Exchange(h.ctx, old); code(err) != "instance_replaced" {
			t.Errorf("the old process: %v", err)
		}
		time.Sleep(fullLease(leaseOf))
		h.sweep()
		h.status(left, catalog.Pending)
		h.status(runs, catalog.Running)
	})
}

// The worker counts the lease of what it adopts from the sending of its registration, so that the leader must not find
// it expired a moment later.
func TestRegistrationDuringExpiry(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		id := h.start("a.sh", 1)
		h.exchange(h.poll(one))
		time.Sleep(fullLease(leaseOf))
		hold := make(chan struct{})
		set(h, &h.before, func(cmd command.Command) error {
			if _, ok := cmd.(*command.Expire); ok {
				<-hold
				return errUnapplied
			}
			return nil
		})
		swept := make(chan error, 1)
		go func() { swept <- h.d.Sweep(h.ctx) }()
		synctest.Wait()
		reg := registration(one, "i2", 1, ".sh")
		reg.Running = []command.AttemptRef{at(id, 1)}
		registered := make(chan command.Registration, 1)
		began := time.Now()
		go func() {
			got, err := h.d.Register(h.ctx, reg, began)
			if err != nil {
				t.Error(err)
			}
			registered <- got
		}()
		synctest.Wait()
		close(hold)
		<-swept
		got := <-registered
		set(h, &h.before, nil)
		if len(got.Adopted) != 1 {
			t.Fatalf("%+v", got)
		}
		h.until(at(id, 1), began.Add(fullLease(leaseOf)))
		h.sweep()
		h.status(id, catalog.Running)
	})
}

func TestTwoMachinesWithOneAgentID(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		clone := registration(one, "i9", 1, ".sh")
		clone.MachineID, clone.MachineName = "machine-x", "HOSTX"
		refused := func(when string) {
			t.Helper()
			_, err := h.d.Register(h.ctx, clone, time.Now())
			if code(err) != "agent_id_in_use" || !strings.Contains(err.Error(), "HOSTX") ||
				!strings.Contains(err.Error(), "HOST1") {
				t.Errorf("%s: %v", when, err)
			}
		}
		refused("the first is online")
		id := h.start("a.sh", 0)
		h.exchange(h.poll(one))
		time.Sleep(5 * time.Minute)
		refused("the first is silent and its lease runs")
		time.Sleep(fullLease(toleranceOf))
		h.sweep()
		h.status(id, catalog.EndedUnexpectedly)
		if _, err := h.d.Register(h.ctx, clone, time.Now()); err != nil {
			t.Errorf("the first one's time is over: %v", err)
		}
		old := h.poll(one)
		old.Incarnation = "i1"
		if _, err := h.d.Exchange(h.ctx, old); code(err) != "instance_replaced" {
			t.Errorf("the first one: %v", err)
		}
	})
}

func TestALeaseThatTheMastersCannotKeep(t *testing.T) {
	within(t, func(h *harness) {
		for _, c := range []struct {
			what             string
			lease, tolerance time.Duration
			ok               bool
		}{
			{"2 h + 2 s + 2 elections + 5 s, exactly", 13500 * time.Millisecond, time.Minute, false},
			{"a little more", 13501 * time.Millisecond, time.Minute, true},
			{"more than the tolerance", time.Minute, 59 * time.Second, false},
			{"as much as the tolerance", time.Minute, time.Minute, true},
		} {
			reg := registration(two, "i1", 1, ".sh")
			reg.LeaseMs, reg.ToleranceMs = c.lease.Milliseconds(), c.tolerance.Milliseconds()
			_, err := h.d.Register(h.ctx, reg, time.Now())
			if c.ok != (err == nil) || err != nil && code(err) != "lease_too_short" {
				t.Errorf("%s: %v", c.what, err)
			}
		}
	})
}

func TestAStopIsToldAtOnce(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		id := h.start("a.sh", 5)
		h.exchange(h.poll(one))
		p := h.poll(one)
		p.Wait, p.Running = 5*time.Second, []command.AttemptRef{at(id, 1)}
		out := h.held(p)
		h.do(&command.StopOperation{OperationID: id})
		r := <-out
		if r.err != nil || !slices.Contains(r.Stop, at(id, 1)) || time.Since(p.Received) > 0 {
			t.Errorf("after %v: %+v", time.Since(p.Received), r)
		}
		h.status(id, catalog.Stopping)
		p = h.poll(one)
		p.Ended = []command.Report{report(id, 1, command.Canceled)}
		h.gives("no more attempts", h.exchange(p))
		h.status(id, catalog.Canceled)
	})
}

// What a worker reports and was never given costs no entry of the log; what it was given goes through it.
func TestInventedReportsAreNotProposed(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		h.worker(two, 1)
		id := h.start("a.sh", 0)
		h.gives("the first worker", h.exchange(h.poll(one)), id)
		proposed := []command.AttemptRef{}
		h.before = func(cmd command.Command) error {
			if x, ok := cmd.(*command.Exchange); ok {
				for _, r := range x.Ended {
					proposed = append(proposed, r.AttemptRef)
				}
			}
			return nil
		}
		invented := []command.AttemptRef{at(id, 2), at(id+1000, 1)}
		report := func(refs ...command.AttemptRef) (list []command.Report) {
			for _, ref := range refs {
				list = append(list, command.Report{AttemptRef: ref, Outcome: command.Succeeded})
			}
			return list
		}
		p := h.poll(two)
		p.Wait = time.Minute
		p.Ended = report(append(invented, at(id, 1))...) // the last one is the other worker's
		begin := time.Now()
		a := h.exchange(p)
		if !slices.Equal(a.Fenced, append(invented, at(id, 1))) || len(a.Settled) != 0 || len(proposed) != 0 ||
			time.Since(begin) > 0 {
			t.Errorf("fenced %v, settled %v, proposed %v, after %v", a.Fenced, a.Settled, proposed, time.Since(begin))
		}
		p = h.poll(one)
		p.Ended = report(at(id, 1), invented[1])
		a = h.exchange(p)
		if !slices.Equal(a.Settled, []command.AttemptRef{at(id, 1)}) || !slices.Equal(a.Fenced, invented[1:]) ||
			!slices.Equal(proposed, a.Settled) {
			t.Errorf("settled %v, fenced %v, proposed %v", a.Settled, a.Fenced, proposed)
		}
		h.status(id, catalog.Succeeded)
	})
}
