package catalog

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scaleout/fsm/command"
)

func (w *machine) keyed(c command.Caller, text string, chosen bool, cmd command.Command) command.Result {
	w.Helper()
	w.caller, w.key = c, command.Key{Text: text, Chosen: chosen, Request: []byte("request of " + text)}
	defer func() { w.caller, w.key = ada, command.Key{} }()
	return w.do(cmd)
}

func folder(name string) command.Command { return &command.CreateFolder{Name: name} }

func code(r command.Result) string {
	if r.Rejection == nil {
		return ""
	}
	return r.Rejection.Code
}

func TestKeys(t *testing.T) {
	w := newMachine(t)
	first := w.keyed(ada, "k", true, folder("A"))
	if again := w.keyed(ada, "k", true, folder("A")); code(again) != "" || again.Value != first.Value {
		t.Errorf("the same key: %+v, first %+v", again, first)
	}
	if other := w.keyed(eve, "k", true, folder("B")); code(other) != "" || other.Value == first.Value {
		t.Errorf("the same key of another caller: %+v", other)
	}
	// A rejection is an answer too, and stays one.
	if r := w.keyed(ada, "exists", true, folder("A")); code(r) != command.CodeFolderExists {
		t.Errorf("%+v", r)
	}
	w.ok(&command.DeleteFolder{Name: "A"})
	if r := w.keyed(ada, "exists", true, folder("A")); code(r) != command.CodeFolderExists {
		t.Errorf("the stored rejection: %+v", r)
	}
	w.caller, w.key = ada, command.Key{Text: "k", Chosen: true, Request: []byte("other")}
	if r := w.do(folder("C")); code(r) != command.CodeKeyReused {
		t.Errorf("another request with the key: %+v", r)
	}
	w.key = command.Key{}
	if _, ok := w.s.Reader().Folder("C"); ok {
		t.Error("the reused key created a folder")
	}
	if a, ok := w.s.Reader().Answer(ada, "k"); !ok || !a.Same([]byte("request of k")) || a.Result.Value != first.Value {
		t.Errorf("%+v %t", a, ok)
	}
	if _, ok := w.s.Reader().Answer(command.Caller{Kind: "worker", Name: "ada"}, "k"); ok {
		t.Error("a worker has the key of a user of its name")
	}
}

func TestKeysExpire(t *testing.T) {
	for name, c := range map[string]struct {
		chosen   bool
		lifetime time.Duration
	}{"library": {false, libraryLifetime}, "chosen": {true, chosenLifetime}} {
		t.Run(name, func(t *testing.T) {
			w := newMachine(t)
			w.keyed(ada, "k", c.chosen, folder("A"))
			w.pass(c.lifetime - time.Millisecond)
			if r := w.keyed(ada, "k", c.chosen, folder("A")); code(r) != "" {
				t.Errorf("forgotten before %v: %v", c.lifetime, r.Rejection)
			}
			if r := w.keyed(ada, "k", c.chosen, folder("A")); code(r) != command.CodeFolderExists {
				t.Errorf("known after %v: %+v", c.lifetime, r)
			}
			w.pass(c.lifetime + time.Second)
			w.keyed(ada, "other", c.chosen, folder("B"))
			if n := w.s.keys.count(); n != 1 {
				t.Errorf("%d keys are kept", n)
			}
		})
	}
}

// Leaders whose clocks are apart take turns, a clock is set, nobody leads for a day: no key ages by more than a second.
func TestJumpsOfTheClockAgeNoKey(t *testing.T) {
	for name, steps := range map[string][]time.Duration{
		"the next leader is ahead": {5 * time.Minute},
		"leaders take turns": {5 * time.Minute, -10 * time.Minute, 10 * time.Minute, -10 * time.Minute,
			10 * time.Minute},
		"a clock that was dead is set":    {56 * 365 * 24 * time.Hour},
		"nobody leads for a day":          {24 * time.Hour},
		"a restored backup is a week old": {7 * 24 * time.Hour, time.Second},
		"a clock is set back, then ahead": {-time.Hour, time.Hour},
		"many changes of leader, in a row": {time.Minute, time.Minute, time.Minute, time.Minute, time.Minute, time.Minute,
			time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newMachine(t)
			first := w.keyed(ada, "k", false, folder("A"))
			for _, d := range steps {
				w.now = w.now.Add(d)
				w.ok(&command.Noop{})
			}
			if again := w.keyed(ada, "k", false, folder("A")); code(again) != "" || again.Value != first.Value {
				t.Errorf("the key was forgotten: %+v", again)
			}
			w.pass(libraryLifetime - time.Duration(len(steps)+1)*keyTick)
			if again := w.keyed(ada, "k", false, folder("A")); code(again) != "" || again.Value != first.Value {
				t.Errorf("the key was forgotten within its lifetime: %+v", again)
			}
			w.pass(time.Duration(len(steps)+2) * keyTick)
			if r := w.keyed(ada, "k", false, folder("A")); code(r) != command.CodeFolderExists {
				t.Errorf("the key lives for ever: %+v", r)
			}
		})
	}
}

// A key whose call waits lives that long after what it waits for has ended.
func TestKeyOfAWaitingCall(t *testing.T) {
	w := ready(t)
	id := w.create("Load.dtsx")
	w.ok(&command.SetExecutionParameter{ExecutionID: id, ObjectType: ObjectExecution, Name: "SYNCHRONIZED",
		Value: command.Value{Type: "Boolean", Text: "true"}})
	start := &command.StartExecution{ExecutionID: id}
	w.keyed(ada, "k", false, start)
	for range 10 {
		w.pass(libraryLifetime + time.Second)
		w.keyed(ada, fmt.Sprint("other", w.now), false, &command.Noop{})
	}
	if r := w.keyed(ada, "k", false, start); code(r) != "" {
		t.Errorf("forgotten while its call waits: %v", r.Rejection)
	}
	if n := w.s.keys.count(); n > 4 {
		t.Errorf("a waiting key keeps %d others", n)
	}
	w.grant(id, 1)
	w.ok(reportOf(id, 1, command.Succeeded))
	w.pass(libraryLifetime - 10*time.Millisecond)
	if r := w.keyed(ada, "k", false, start); code(r) != "" {
		t.Errorf("forgotten right after its end: %v", r.Rejection)
	}
	// Its lifetime begins when the ring notices, at the latest one lifetime later.
	for range 2 {
		w.pass(libraryLifetime + time.Second)
		w.keyed(ada, fmt.Sprint("other", w.now), false, &command.Noop{})
	}
	if r := w.keyed(ada, "k", false, start); code(r) != command.CodeAlreadyStarted {
		t.Errorf("known for ever: %+v", r)
	}
}

// A full ring refuses what is new and forgets nothing that lives; what it refuses has done nothing.
func TestAFullRingForgetsNoLivingKey(t *testing.T) {
	for name, x := range map[string]struct {
		chosen   bool
		lifetime time.Duration
	}{"library": {false, libraryLifetime}, "chosen": {true, chosenLifetime}} {
		t.Run(name, func(t *testing.T) {
			w := newMachine(t)
			w.s.keys = newKeyStoreOf(10, 10) // five for one caller
			kept := map[string]command.Caller{}
			send := func(c command.Caller, cmd command.Command) command.Result {
				key := fmt.Sprint("k", len(kept))
				r := w.keyed(c, key, x.chosen, cmd)
				if code(r) == "" {
					kept[key] = c
				}
				return r
			}
			full := func(want string, c command.Caller) {
				t.Helper()
				r := send(c, folder("Refused"))
				if code(r) != want {
					t.Errorf("want %s: %+v", want, r)
				}
			}
			for range 5 {
				send(ada, &command.Noop{})
			}
			full(command.CodeTooManyCallerKeys, ada)
			for range 4 {
				send(eve, &command.Noop{})
			}
			if r := send(command.Caller{Kind: "user", Name: "bob"}, &command.Noop{}); code(r) != "" {
				t.Errorf("another caller pays for it: %+v", r)
			}
			full(command.CodeTooManyKeys, eve)
			w.pass(x.lifetime - time.Second)
			full(command.CodeTooManyKeys, ada)
			for key, c := range kept {
				if _, ok := w.s.Reader().Answer(c, key); !ok {
					t.Errorf("%s of %s is forgotten", key, c.Name)
				}
			}
			if r := w.keyed(ada, "k0", x.chosen, &command.Noop{}); code(r) != "" {
				t.Errorf("a kept key is refused by a full ring: %+v", r)
			}
			if _, ok := w.s.Reader().Folder("Refused"); ok {
				t.Error("a refused command was applied")
			}
			// The rings do not pay for each other, and what is dead makes room.
			if r := w.keyed(ada, "of the other ring", !x.chosen, &command.Noop{}); code(r) != "" {
				t.Errorf("%+v", r)
			}
			w.pass(2 * time.Second)
			if r := send(ada, folder("A")); code(r) != "" {
				t.Errorf("after %v: %+v", x.lifetime, r)
			}
		})
	}
}

// Keys that died while nobody sent any cost no call, however many there are.
func TestDeadKeysCostNoCall(t *testing.T) {
	w := newMachine(t)
	w.s.keys = newKeyStoreOf(1000, 10)
	for i := range 500 {
		w.keyed(ada, fmt.Sprint("k", i), false, &command.Noop{})
	}
	w.pass(libraryLifetime)
	w.keyed(eve, "k", false, &command.Noop{})
	for i := range 499 {
		if r := w.keyed(ada, fmt.Sprint("l", i), false, &command.Noop{}); code(r) != "" {
			t.Fatalf("call %d: %+v", i, r)
		}
	}
}

// A reader shows an answer if and only if it shows what was done.
func TestAnAnswerIsSeenWithItsEntry(t *testing.T) {
	w := newMachine(t)
	before := w.s.Reader()
	env, err := command.Wrap(folder("A"))
	if err != nil {
		t.Fatal(err)
	}
	env.Time, env.Caller, env.Key = w.now, ada, command.Key{Text: "k", Request: []byte("r")}
	index := w.s.Index() + 1
	if _, err := w.s.Apply(index, env); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Reader{"before the entry": before, "in the midst of it": w.s.Reader()} {
		if _, ok := r.Answer(ada, "k"); ok {
			t.Errorf("a reader %s has the answer", name)
		}
	}
	if again, err := w.s.Apply(index, env); err != nil || code(again) != "" {
		t.Errorf("the same key within an entry: %+v %v", again, err)
	}
	w.s.Commit(index)
	if _, ok := w.s.Reader().Answer(ada, "k"); !ok {
		t.Error("a reader of the entry has no answer")
	}
	if _, ok := before.Answer(ada, "k"); ok {
		t.Error("a reader from before the entry has the answer")
	}
}

// A ring under random pushes and pops is what a plain list of entries would be, keeps its memory in bounds, and its
// snapshots stay as they were.
func TestRing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRing(1<<20, time.Minute)
		var model []keyEntry
		callers := []string{"a", "b", "c"}
		same := func(s ringSnapshot, want []keyEntry) {
			i := 0
			for e := range s.entries() {
				if i >= len(want) || e.ID != want[i].ID || e.At != want[i].At || e.Caller != want[i].Caller {
					rt.Fatalf("entry %d is %v", i, e)
				}
				i++
			}
			if i != len(want) {
				rt.Fatalf("%d entries, want %d", i, len(want))
			}
		}
		var taken ringSnapshot
		var then []keyEntry
		number := 0
		for step := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "push") {
				caller := rapid.SampledFrom(callers).Draw(rt, "caller")
				for range rapid.IntRange(1, 1500).Draw(rt, "pushes") {
					number++
					e := keyEntry{ID: keyID{byte(number), byte(number >> 8), byte(number >> 16)}, Caller: caller,
						At: command.Time(step)}
					r.push(e)
					model = append(model, e)
				}
			} else {
				for range min(rapid.IntRange(1, 1500).Draw(rt, "pops"), len(model)) {
					r.pop()
					model = model[1:]
				}
			}
			if step == 5 {
				taken, then = r.snapshot(), slices.Clone(model)
			}
		}
		same(r.snapshot(), model)
		if taken.blocks != nil {
			same(taken, then)
		}
		for _, c := range callers {
			n := 0
			for _, e := range model {
				if e.Caller == c {
					n++
				}
			}
			if r.held(c) != n {
				rt.Fatalf("%s holds %d, want %d", c, r.held(c), n)
			}
		}
		if r.count() != len(model) || len(r.index) != len(model) {
			rt.Fatalf("%d entries, %d ids, want %d", r.count(), len(r.index), len(model))
		}
		if held := len(r.blocks) * blockSize; held > len(model)+2*blockSize {
			rt.Fatalf("%d places for %d entries", held, len(model))
		}
		for _, e := range model {
			if found := r.find(e.ID); found == nil {
				rt.Fatalf("entry %v is not found", e.ID)
			}
		}
	})
}

// BenchmarkKeys says what a kept key costs.
func BenchmarkKeys(b *testing.B) {
	s := NewState()
	r := s.working()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range b.N {
		s.keys.keep(r, 1, ada, command.Key{Text: fmt.Sprint(i), Request: make([]byte, 32)}, 0,
			command.Result{Value: int64(i)})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "B/key")
	runtime.KeepAlive(s)
}
