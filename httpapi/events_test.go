package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

var errEnough = errors.New("enough")

// read takes n events and ends the stream.
func read(t *testing.T, c *client.Client, from client.EventsFrom, n int) (out []wire.Event) {
	t.Helper()
	err := c.Events(t.Context(), from, func(e wire.Event) error {
		if out = append(out, e); len(out) == n {
			return errEnough
		}
		return nil
	})
	if from.Follow && !errors.Is(err, errEnough) || !from.Follow && err != nil && !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return out
}

func names(events []wire.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.Type+" "+e.Name)
	}
	return out
}

func TestEventsAreTheSameOnEveryMaster(t *testing.T) {
	w := newWorld(t, 2)
	for i := range 3 {
		w.apply(root, &command.CreateFolder{Name: fmt.Sprint("F", i)})
	}
	a := read(t, w.client(monitor, 0), client.EventsFrom{After: "0"}, -1)
	b := read(t, w.client(monitor, 1), client.EventsFrom{After: "0"}, -1)
	if !slices.Equal(a, b) || !slices.Equal(names(a), []string{"level_raised ", "folder_created F0", "folder_created F1",
		"folder_created F2"}) {
		t.Errorf("one tells %v, the other %v", a, b)
	}
	if rest := read(t, w.client(monitor, 1), client.EventsFrom{After: a[1].ID}, -1); !slices.Equal(rest, a[2:]) {
		t.Errorf("after %s come %v", a[1].ID, rest)
	}
	g := do(t, w.as(&nobody), "GET", w.nodes[0].srv.URL+"/v1/events?follow=false&after=0", "")
	if g.Header.Get("Content-Type") != "text/event-stream" ||
		!strings.Contains(g.body, "id: 1.0\nevent: level_raised\ndata: {") || strings.Contains(g.body, "folder") {
		t.Errorf("a user without roles reads %q", g.body)
	}
	if g := do(t, w.as(&monitor), "GET", w.nodes[1].srv.URL+"/v1/events?follow=false", ""); !strings.HasPrefix(g.body,
		"id: "+a[3].ID+"\n: ") || strings.Contains(g.body, "data") {
		t.Errorf("who begins with the next event is told the place of the last: %q", g.body)
	}
	for _, query := range []string{"after=x", "follow=perhaps"} {
		if g := do(t, w.as(&root), "GET", w.nodes[0].srv.URL+"/v1/events?"+query, ""); g.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, g.StatusCode, g.body)
		}
	}
}

// A reader loses its master and misses nothing, and gets nothing twice.
func TestEventsGoOnAtAnotherMaster(t *testing.T) {
	w := newWorld(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := w.client(monitor, 0, 1)
	got := make(chan wire.Event)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Events(ctx, client.EventsFrom{After: "0", Follow: true}, func(e wire.Event) error {
			select {
			case got <- e:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	next := func(want string) {
		t.Helper()
		select {
		case e := <-got:
			if e.Type+" "+e.Name != want {
				t.Fatalf("read %s %s, want %s", e.Type, e.Name, want)
			}
		case err := <-ended:
			t.Fatal(err)
		}
	}
	next("level_raised ")
	for i := range 4 {
		if i == 2 {
			w.nodes[0].srv.CloseClientConnections()
			close(w.nodes[0].stop)
		}
		w.apply(root, &command.CreateFolder{Name: fmt.Sprint("F", i)})
		next(fmt.Sprint("folder_created F", i))
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// Who comes from a state that this one does not continue is told so.
func TestAPlaceThatIsNotKnownBeginsWithReset(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	w := newWorld(t, 1)
	w.apply(root, &command.CreateFolder{Name: "F"})
	got := read(t, w.client(monitor, 0), client.EventsFrom{After: "900.0"}, -1)
	if len(got) != 1 || got[0].Type != wire.EventReset || got[0].ID != "2.0" {
		t.Errorf("read %v", got)
	}
}
