package catalog

import (
	"fmt"
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
	if r := w.keyed(ada, "exists", true, folder("A")); code(r) != CodeFolderExists {
		t.Errorf("%+v", r)
	}
	w.ok(&command.DeleteFolder{Name: "A"})
	if r := w.keyed(ada, "exists", true, folder("A")); code(r) != CodeFolderExists {
		t.Errorf("the stored rejection: %+v", r)
	}
	w.caller, w.key = ada, command.Key{Text: "k", Chosen: true, Request: []byte("other")}
	if r := w.do(folder("C")); code(r) != CodeKeyReused {
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

// The proposer plans again when the project was deployed meanwhile: under the same key.
func TestVersionChangedIsNotKept(t *testing.T) {
	w := ready(t)
	create := func(version int64) command.Command {
		return &command.CreateExecution{Folder: "F", Project: "P", Package: "Load.dtsx", Version: version, AnyWorker: true}
	}
	w.deploy()
	if r := w.keyed(ada, "k", true, create(1)); code(r) != CodeVersionChanged {
		t.Fatalf("%+v", r)
	}
	if r := w.keyed(ada, "k", true, create(2)); code(r) != "" {
		t.Errorf("planned again: %+v", r)
	}
}

func TestKeysExpireInCommandTime(t *testing.T) {
	for _, c := range []struct {
		chosen bool
		life   time.Duration
	}{{false, libraryLife}, {true, chosenLife}} {
		w := newMachine(t)
		w.keyed(ada, "k", c.chosen, folder("A"))
		at := w.now
		w.now = at.Add(c.life - time.Millisecond)
		if r := w.keyed(ada, "k", c.chosen, folder("A")); code(r) != "" {
			t.Errorf("chosen %t: forgotten before %v: %v", c.chosen, c.life, r.Rejection)
		}
		w.now = at.Add(c.life)
		if r := w.keyed(ada, "k", c.chosen, folder("A")); code(r) != CodeFolderExists {
			t.Errorf("chosen %t: known after %v: %+v", c.chosen, c.life, r)
		}
		w.now = w.now.Add(c.life + time.Second)
		w.keyed(ada, "other", c.chosen, folder("B"))
		if n := w.s.keys.count(); n != 1 {
			t.Errorf("chosen %t: %d keys are kept", c.chosen, n)
		}
	}
}

// A key whose call waits lives that long after what it waits for has ended.
func TestKeyOfAWaitingCall(t *testing.T) {
	w := ready(t)
	id := w.create("Load.dtsx")
	w.ok(&command.SetExecutionParameter{ExecutionID: id, ObjectType: ObjectExecution, Name: "SYNCHRONIZED", Value: command.Value{Type: "Boolean", Text: "true"}})
	start := &command.StartExecution{ExecutionID: id}
	w.keyed(ada, "k", false, start)
	for range 10 {
		w.now = w.now.Add(10 * libraryLife)
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
	end := w.now
	w.now = end.Add(libraryLife - 10*time.Millisecond)
	if r := w.keyed(ada, "k", false, start); code(r) != "" {
		t.Errorf("forgotten right after its end: %v", r.Rejection)
	}
	w.now = end.Add(libraryLife + 10*time.Millisecond)
	if r := w.keyed(ada, "k", false, start); code(r) != CodeAlreadyStarted {
		t.Errorf("known for ever: %+v", r)
	}
}

func TestSharesOfTheChosenRing(t *testing.T) {
	w := newMachine(t)
	w.s.keys = newKeyStoreOf(20, 10) // five for one caller
	n := 0
	send := func(c command.Caller) string {
		n++
		return code(w.keyed(c, fmt.Sprint("k", n), true, &command.Noop{}))
	}
	for range 5 {
		if got := send(ada); got != "" {
			t.Fatal(got)
		}
	}
	if got := send(ada); got != CodeTooManyKeys {
		t.Errorf("a sixth young key: %q", got)
	}
	if got := send(eve); got != "" {
		t.Errorf("another caller pays for it: %q", got)
	}
	// Library keys have a ring of their own, whose oldest makes room at once.
	for i := range 30 {
		if r := w.keyed(ada, fmt.Sprint("l", i), false, &command.Noop{}); code(r) != "" {
			t.Fatal(r.Rejection)
		}
	}
	if _, ok := w.s.Reader().Answer(ada, "l9"); ok {
		t.Error("the tenth library key of thirty is kept by a ring of twenty")
	}
	if _, ok := w.s.Reader().Answer(ada, "l10"); !ok {
		t.Error("the eleventh is gone")
	}
	// After 15 minutes the oldest of the caller makes room; nobody else's.
	w.now = w.now.Add(chosenFloor + time.Second)
	if got := send(ada); got != "" {
		t.Errorf("after %v: %q", chosenFloor, got)
	}
	for key, want := range map[string]bool{"k1": false, "k2": true} {
		if _, ok := w.s.Reader().Answer(ada, key); ok != want {
			t.Errorf("%s kept: %t", key, ok)
		}
	}
	if _, ok := w.s.Reader().Answer(eve, "k7"); !ok {
		t.Error("eve's key made room for ada's")
	}
	// A command that is told 429 has done nothing.
	for range 4 {
		send(ada)
	}
	if r := w.keyed(ada, "last", true, folder("A")); code(r) != CodeTooManyKeys {
		t.Errorf("%+v", r)
	}
	if _, ok := w.s.Reader().Folder("A"); ok {
		t.Error("a refused command was applied")
	}
}

// A ring under random pushes, expiries and evictions is what a plain list of entries would be, keeps its memory in
// bounds, and its snapshots stay as they were.
func TestRing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRing(1 << 20)
		var model []keyEntry
		callers := []string{"a", "b", "c"}
		same := func(s ringSnapshot, want []keyEntry) {
			i := 0
			for e := range s.entries() {
				if i >= len(want) || e.ID != want[i].ID || e.At != want[i].At {
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
		number := byte(0)
		for step := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0, 1:
				caller := rapid.SampledFrom(callers).Draw(rt, "caller")
				for range rapid.IntRange(1, 700).Draw(rt, "pushes") {
					number++
					e := keyEntry{ID: keyID{number, byte(step)}, Caller: caller, At: command.Time(step)}
					r.push(e)
					model = append(model, e)
				}
			case 2:
				caller := rapid.SampledFrom(callers).Draw(rt, "caller")
				for range rapid.IntRange(1, 900).Draw(rt, "evictions") {
					at := -1
					for i := range model {
						if model[i].Caller == caller {
							at = i
							break
						}
					}
					if got := r.evict(caller, command.Time(step)); got != (at >= 0) {
						rt.Fatalf("evicted %t", got)
					}
					if at >= 0 {
						model = append(model[:at:at], model[at+1:]...)
					}
				}
			case 3:
				for range rapid.IntRange(1, 900).Draw(rt, "pops") {
					r.pop()
					if len(model) > 0 {
						model = model[1:]
					}
				}
			}
			if step == 5 {
				taken, then = r.snapshot(), append([]keyEntry(nil), model...)
			}
		}
		same(r.snapshot(), model)
		if taken.blocks != nil {
			same(taken, then)
		}
		if r.alive != len(model) {
			rt.Fatalf("%d alive, want %d", r.alive, len(model))
		}
		if held := len(r.blocks) * blockSize; held > 4*len(model)+7*blockSize {
			rt.Fatalf("%d places for %d entries", held, len(model))
		}
		for _, e := range model {
			if found := r.find(e.ID); found == nil {
				rt.Fatalf("entry %v is not found", e.ID)
			}
		}
	})
}
