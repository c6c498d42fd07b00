package service

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
)

func TestEvents(t *testing.T) {
	n := &node{world: fsmtest.NewWorld(t)}
	s := n.service(t)
	for i := range 2 * eventBatch {
		n.world.Must(fsmtest.Alice, &command.CreateFolder{Name: fmt.Sprint("F", i)})
	}
	most := uint64(2*eventBatch + 1)
	for _, c := range []struct {
		name   string
		caller command.Caller
		after  string
		finds  []int // in each batch, until the last
		first  string
	}{
		{"from the beginning", fsmtest.Alice, "0", []int{eventBatch, eventBatch, 1}, "level_raised "},
		{"from a place", fsmtest.Alice, "3.0", []int{eventBatch, eventBatch - 2}, "folder_created F2"},
		{"from the newest but one", fsmtest.Alice, fmt.Sprint(most-1, ".0"), []int{1},
			fmt.Sprint("folder_created F", 2*eventBatch-1)},
		{"from the next", fsmtest.Alice, "", []int{0}, ""},
		{"what the caller may not see", fsmtest.Someone, "0", []int{1, 0, 0}, "level_raised "},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := s.Events(c.caller, c.after)
			if err != nil {
				t.Fatal(err)
			}
			var finds []int
			first := ""
			for more := true; more; {
				b := e.Next()
				if b.Gone {
					t.Fatal("nothing is gone")
				}
				if len(b.Events) > 0 && first == "" {
					first = b.Events[0].Type + " " + b.Events[0].Name
				}
				finds, more = append(finds, len(b.Events)), b.Changed == nil
			}
			if !slices.Equal(finds, c.finds) || first != c.first {
				t.Errorf("found %v beginning with %q, want %v with %q", finds, first, c.finds, c.first)
			}
			if got, want := e.Place(), fmt.Sprint(most, ".0"); got != want {
				t.Errorf("the place is %s, want %s", got, want)
			}
		})
	}
	if _, err := s.Events(fsmtest.Alice, "x"); err == nil {
		t.Error("x is an id")
	}
}

// TestEventsOfAnotherState: a place that this node never reaches is given up after a while.
func TestEventsOfAnotherState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{world: fsmtest.NewWorld(t)}
		s := n.service(t)
		e, err := s.Events(fsmtest.Alice, "900.0")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if e.Reach(t.Context()) || time.Since(began) != eventWait {
			t.Errorf("after %v at %d, %s is reached", time.Since(began), s.Index(), e.Place())
		}
		e.Restart()
		if got := e.Place(); got != "1.0" || !e.Reach(t.Context()) {
			t.Errorf("it goes on from %s", got)
		}
	})
}
