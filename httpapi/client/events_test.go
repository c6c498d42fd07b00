package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"scaleout/httpapi/wire"
)

// A reader that begins with the next event and loses its master before there was one goes on from where it began.
func TestEventsGoOnFromAQuietPlace(t *testing.T) {
	first := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "id: 7.1\n: first\n\n:\n\n")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	second := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if from := r.Header.Get(wire.HeaderLastEventID); from != "7.1" {
			t.Errorf("it goes on from %q", from)
		}
		fmt.Fprint(w, "id: 7.1\n: second\n\nid: 8.0\nevent: a\ndata: {\"id\":\"8.0\",\"type\":\"a\"}\n\n")
		// An event that was cut off after its id is not one that the reader has.
		fmt.Fprint(w, "id: 9.0\nevent: b\n")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	third := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if from := r.Header.Get(wire.HeaderLastEventID); from != "8.0" {
			t.Errorf("then from %q", from)
		}
		fmt.Fprint(w, "id: 9.0\nevent: b\ndata: {\"id\":\"9.0\",\"type\":\"b\"}\n\n")
	})
	ctx, cancel := context.WithCancel(t.Context())
	var seen []string
	err := newClient(t, first.URL, second.URL, third.URL).Events(ctx, EventsFrom{Follow: true}, func(e wire.Event) error {
		if seen = append(seen, e.Type); len(seen) == 2 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(seen, []string{"a", "b"}) {
		t.Errorf("read %q, %v", seen, err)
	}
}
