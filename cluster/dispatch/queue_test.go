package dispatch

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/view"
)

func TestTasksOfAKindAreGrantedInOrder(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 2)
		var ids []int64
		for range 5 {
			ids = append(ids, h.start("a.sh", 0))
		}
		h.gives("two slots", h.exchange(h.poll(one)), ids[0], ids[1])
		p := h.poll(one)
		p.Running = []command.AttemptRef{at(ids[1], 1)}
		p.Ended = []command.Report{report(ids[0], 1, command.Succeeded)}
		h.gives("one free again", h.exchange(p), ids[2])
		p = h.poll(one)
		p.Running = []command.AttemptRef{at(ids[1], 1), at(ids[2], 1)}
		h.gives("none free", h.exchange(p))
	})
}

func TestAKindThatNobodyRunsHoldsUpNoOther(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 4)
		h.worker(two, 4)
		for range 200 {
			h.start("b.dtsx", 0)
		}
		for range 200 {
			h.start("a.sh", 0, two)
		}
		mine := h.start("a.sh", 0)
		h.gives("behind 400 that it cannot take", h.exchange(h.poll(one)), mine)
	})
}

func TestHeldPollsShareFairly(t *testing.T) {
	within(t, func(h *harness) {
		workers := []string{one, two, three}
		polls := map[string]<-chan reply{}
		for _, w := range workers {
			h.worker(w, 4)
			p := h.poll(w)
			p.Wait = 20 * time.Second
			polls[w] = h.held(p)
			time.Sleep(time.Second) // they have waited for different times
		}
		for i, w := range workers {
			id := h.start("a.sh", 0)
			synctest.Wait()
			if !ended(polls[w]) {
				t.Fatalf("task %d did not go to the poll that waited longest", i)
			}
			h.gives("a held poll", (<-polls[w]).Answer, id)
		}
		// The least loaded comes first, however long others wait.
		again := func(w string, running ...command.AttemptRef) <-chan reply {
			p := h.poll(w)
			p.Wait, p.Running = 5*time.Second, running
			return h.held(p)
		}
		busy := again(one, held(h, one)...)
		time.Sleep(time.Second)
		p := h.poll(two)
		p.Ended = []command.Report{{AttemptRef: held(h, two)[0], Outcome: command.Succeeded}}
		h.exchange(p)
		idle := again(two)
		h.start("a.sh", 0)
		synctest.Wait()
		if !ended(idle) || ended(busy) {
			t.Error("the loaded worker got the task, the idle one did not")
		}
		<-busy
	})
}

func held(h *harness, worker string) []command.AttemptRef {
	row, _ := h.Reader().Worker(worker)
	return heldBy(h.Reader(), worker, row.Incarnation)
}

func TestAHigherSequenceEndsTheHeldPoll(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		first := h.poll(one)
		first.Wait = 20 * time.Second
		out := h.held(first)
		began := time.Now()
		second := h.poll(one)
		second.Wait = 20 * time.Second
		next := h.held(second)
		if !ended(out) || time.Since(began) > 0 {
			t.Fatal("the older poll is still held")
		}
		if r := <-out; r.err != nil || len(r.Grants) > 0 {
			t.Errorf("the older poll got %v", r)
		}
		id := h.start("a.sh", 0)
		h.gives("the newer poll", (<-next).Answer, id)
		first.Received = time.Now()
		if _, err := h.d.Exchange(h.ctx, first); code(err) != "stale_sequence" {
			t.Errorf("exchange %d after exchange %d: %v", first.Sequence, second.Sequence, err)
		}
		second.Received = time.Now()
		h.gives("the newer poll sent once more, its answer lost", h.exchange(second), id)
	})
}

func TestTheSameExchangeByAnotherWayTakesThePlaceOfTheHeldOne(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		p := h.poll(one)
		p.Wait = 20 * time.Second
		first := h.held(p)
		again := h.held(p)
		if !ended(first) {
			t.Fatal("both are held")
		}
		if r := <-first; r.err != nil || len(r.Grants) > 0 {
			t.Errorf("the first got %v", r)
		}
		id := h.start("a.sh", 0)
		h.gives("the second", (<-again).Answer, id)
	})
}

func TestDisabledGetsNothingNew(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 4)
		runs := h.start("a.sh", 0)
		h.gives("enabled", h.exchange(h.poll(one)), runs)
		p := h.poll(one)
		p.Wait, p.Running = 5*time.Second, []command.AttemptRef{at(runs, 1)}
		out := h.held(p)
		h.do(&command.EnableWorker{ID: one, Enabled: false})
		synctest.Wait()
		if !ended(out) {
			t.Fatal("the worker hears of it only later")
		}
		if r := <-out; r.Enabled || !slices.Contains(r.Renewed, at(runs, 1)) {
			t.Errorf("%+v", r)
		}
		waits := h.start("a.sh", 0)
		p = h.poll(one)
		p.Ended = []command.Report{report(runs, 1, command.Succeeded)}
		h.gives("disabled", h.exchange(p))
		h.status(runs, catalog.Succeeded)
		h.reason(waits, command.ReasonNoWorkerEnabled)
	})
}

func TestSlotsAreTheWorkersOwnWord(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 4)
		h.start("a.sh", 0)
		p := h.poll(one)
		p.Slots = 0 // draining
		h.gives("a draining worker", h.exchange(p))
	})
}

// What a person sees of a worker: whether it is heard from, whether it takes anything new, how much it runs.
func TestTheStateOfAWorker(t *testing.T) {
	within(t, func(h *harness) {
		is := func(when string, want view.WorkerNow) {
			t.Helper()
			if got, ok := h.d.Worker(one); !ok || got != want {
				t.Errorf("%s: %+v %v, want %+v", when, got, ok, want)
			}
		}
		if _, ok := h.d.Worker(two); ok {
			t.Error("a worker that never registered is known")
		}
		h.worker(one, 2)
		is("registered and not heard yet", view.WorkerNow{Online: true})
		id := h.start("a.sh", 0)
		h.gives("the task", h.exchange(h.poll(one)), id)
		is("running", view.WorkerNow{Online: true, Running: 1})
		p := h.poll(one)
		p.Slots, p.Running = 0, []command.AttemptRef{at(id, 1)}
		h.exchange(p)
		is("draining", view.WorkerNow{Online: true, Draining: true, Running: 1})
		time.Sleep(2*time.Minute + time.Second)
		is("silent", view.WorkerNow{Running: 1})
		h.d.Drop()
		if _, ok := h.d.Worker(one); ok {
			t.Error("a leader of the past knows workers")
		}
		h.d.Establish()
		is("under a new leader", view.WorkerNow{Running: 1})
	})
}

func TestARetryPrefersAnotherWorker(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 2)
		h.worker(two, 2)
		h.exchange(h.poll(two)) // it is there, with room
		id := h.start("a.sh", 3, one, two)
		h.gives("first attempt", h.exchange(h.poll(one)), id)
		p := h.poll(one)
		p.Ended = []command.Report{report(id, 1, command.Failed)}
		h.gives("in the retry wait", h.exchange(p))
		h.reason(id, command.ReasonRetryWait)
		time.Sleep(5*time.Second + time.Millisecond)
		h.gives("the worker that failed", h.exchange(h.poll(one)))
		h.gives("another", h.exchange(h.poll(two)), id)

		// When nobody else comes, the same one gets it.
		p = h.poll(two)
		p.Ended = []command.Report{report(id, 2, command.Failed)}
		h.exchange(p)
		time.Sleep(10*time.Second + time.Millisecond)
		h.gives("the other is there and could", h.exchange(h.poll(two)))
		p = h.poll(two)
		p.Wait = 20 * time.Second
		out := h.held(p)
		time.Sleep(preference)
		synctest.Wait()
		if !ended(out) {
			t.Fatal("waits for another worker for ever")
		}
		h.gives("nobody else came", (<-out).Answer, id)
	})
}

func TestARetryDoesNotWaitForAWorkerWithoutRoom(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		h.worker(two, 1)
		other := h.start("a.sh", 0, two)
		h.gives("the other is busy", h.exchange(h.poll(two)), other)
		id := h.start("a.sh", 1)
		h.gives("first attempt", h.exchange(h.poll(one)), id)
		p := h.poll(one)
		p.Ended = []command.Report{report(id, 1, command.Failed)}
		h.exchange(p)
		time.Sleep(5*time.Second + time.Millisecond)
		h.gives("second attempt", h.exchange(h.poll(one)), id)
	})
}

// A worker that hands everything back does so ever more slowly, uses no attempt, and not for ever.
func TestReturnedUsesNoAttempt(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		id := h.start("a.sh", 0)
		began := time.Now()
		wait := 5 * time.Second
		for n := 1; n <= catalog.MostReturned; n++ {
			h.gives("granted", h.exchange(h.poll(one)), id)
			p := h.poll(one)
			p.Ended = []command.Report{report(id, n, command.Returned)}
			p.Ended[0].Message = "no disk"
			h.gives("not at once", h.exchange(p))
			if n == catalog.MostReturned {
				break
			}
			h.status(id, catalog.Pending)
			if code, args, _ := h.d.Reason(id); code != command.ReasonHandedBack || !slices.Contains(args, "no disk") ||
				!slices.Contains(args, wait.String()) {
				t.Errorf("after %d: %s %q, want %v and the worker's words", n, code, args, wait)
			}
			time.Sleep(wait + time.Millisecond)
			wait = min(2*wait, 5*time.Minute)
		}
		h.status(id, catalog.Failed)
		if d := time.Since(began); d < 10*time.Minute {
			t.Errorf("given up after %v", d)
		}
	})
}

// A grant whose proposal fails goes to the next poll; one whose outcome is unknown goes where the state says.
func TestAFailedGrantIsNotForgotten(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		h.worker(two, 1)
		id := h.start("a.sh", 0)
		set(h, &h.before, func(command.Command) error { return errUnapplied })
		if _, err := h.d.Exchange(h.ctx, h.poll(one)); err == nil {
			t.Fatal("no error")
		}
		set(h, &h.before, nil)
		set(h, &h.after, func(command.Command) error { return errUnknown })
		if _, err := h.d.Exchange(h.ctx, h.poll(two)); err == nil {
			t.Fatal("no error")
		}
		set(h, &h.after, nil)
		h.gives("it was not given to this one", h.exchange(h.poll(one)))
		next := h.start("a.sh", 0, two)
		h.gives("the lost answer again, before anything new", h.exchange(h.poll(two)), id)
		h.gives("and again", h.exchange(h.poll(two)), id)
		p := h.poll(two)
		p.Ended = []command.Report{report(id, 1, command.Succeeded)}
		h.gives("then the next", h.exchange(p), next)
	})
}

func TestReasons(t *testing.T) {
	within(t, func(h *harness) {
		id := h.start("a.sh", 0)
		h.reason(id, command.ReasonNoWorkerRegistered)
		h.worker(one, 1)
		h.do(&command.EnableWorker{ID: one, Enabled: false})
		h.reason(id, command.ReasonNoWorkerEnabled)
		h.do(&command.EnableWorker{ID: one, Enabled: true})
		h.reason(id, command.ReasonStartingNextCall)
		time.Sleep(2*time.Minute + time.Second)
		h.reason(id, command.ReasonNoWorkerOnline)
		h.gives("back", h.exchange(h.poll(one)), id)
		if _, _, ok := h.d.Reason(id); ok {
			t.Error("a running execution that is heard of has a reason")
		}
		h.reason(h.start("a.sh", 0), command.ReasonWorkersBusy)
		h.reason(h.start("a.sh", 0, one), command.ReasonSelectedWorkersBusy)
		h.reason(h.start("b.dtsx", 0), command.ReasonNoWorkerCanRun)
		h.worker(two, 1)
		chosen := h.start("a.sh", 0, two)
		time.Sleep(2*time.Minute + time.Second)
		h.reason(chosen, command.ReasonSelectedWorkersOffline)
		h.do(&command.EnableWorker{ID: two, Enabled: false})
		h.reason(chosen, command.ReasonNoSelectedEnabled)
		h.reason(id, command.ReasonSilent)
	})
}

// A new leader has not heard how much each worker takes; that is no reason to call them busy.
func TestReasonsOfANewLeader(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 1)
		h.exchange(h.poll(one))
		h.d.Drop()
		h.d.Establish()
		h.reason(h.start("a.sh", 0), command.ReasonStartingNextCall)
	})
}

// A worker that is deleted and registers again while a grant is on its way to it begins with as many places as it has.
func TestAPromiseGoesWithTheWorkerThatItWasMadeTo(t *testing.T) {
	within(t, func(h *harness) {
		h.worker(one, 2)
		h.start("a.sh", 0)
		h.start("a.sh", 0)
		var once sync.Once
		set(h, &h.before, func(cmd command.Command) error {
			if _, grants := cmd.(*command.Exchange); grants {
				once.Do(func() {
					h.do(&command.EnableWorker{ID: one, Enabled: false})
					h.do(&command.DeleteWorker{ID: one})
					h.worker(one, 2)
				})
			}
			return nil
		})
		_, _ = h.d.Exchange(h.ctx, h.poll(one))
		h.d.mu.Lock()
		defer h.d.mu.Unlock()
		w := h.d.queue.workers[one]
		w.slots = 2
		if free := w.free(); free != 2-w.held {
			h.Errorf("%d places are free of 2, of which %d are taken", free, w.held)
		}
	})
}
