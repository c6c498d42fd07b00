package blobs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/fsm/command"
)

func TestWhoLacksABlobFetchesItOnce(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, nil, time.Hour)
	digest, _, err := c.disks["b"].Create(t.Context(), strings.NewReader("lonely"), 100)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := read(t, c.keepers["c"], digest); got != "lonely" {
				t.Errorf("read %q", got)
			}
		})
	}
	wg.Wait()
	if !c.disks["c"].Has(digest) {
		t.Error("what was fetched is not kept")
	}
	if _, err := c.keepers["a"].Open(t.Context(), sum("nowhere")); !errors.Is(err, command.ErrNoBlob) {
		t.Errorf("%v, want ErrNoBlob", err)
	}
}

func TestADamagedSourceIsNotTakenForTheBlob(t *testing.T) {
	c := start(t, []string{"a", "b"}, nil, time.Hour)
	digest := sum("good")
	resp, err := http.NewRequest(http.MethodPut, c.servers["a"].URL+"/peer/blobs/"+digest, bytes.NewReader([]byte("evil")))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(resp)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode/100 == 2 || c.disks["a"].Has(digest) {
		t.Errorf("%s: content of another digest was stored", answer.Status)
	}
}

// The caller for whom a blob is being fetched may go away; the others who wait for it still get it.
func TestACallersEndDoesNotEndTheOthersFetch(t *testing.T) {
	c := start(t, []string{"a", "b"}, nil, time.Hour)
	digest, _, err := c.disks["b"].Create(t.Context(), strings.NewReader("slow"), 100)
	if err != nil {
		t.Fatal(err)
	}
	asked, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	serve := c.servers["b"].Config.Handler
	c.servers["b"].Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			once.Do(func() { close(asked) })
			select {
			case <-gate:
			case <-r.Context().Done():
			}
		}
		serve.ServeHTTP(w, r)
	})
	first, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { _, err := c.keepers["a"].Open(first, digest); left <- err }()
	<-asked
	got := make(chan error, 1)
	go func() {
		b, err := c.keepers["a"].Open(t.Context(), digest)
		if err == nil {
			err = b.Close()
		}
		got <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who goes away is told %v", err)
	}
	close(gate)
	if err := <-got; err != nil {
		t.Errorf("who waited with it: %v", err)
	}
}

// A peer that stands still in the midst of a blob is given up for the next one; one that is only slow is not.
func TestATransferMayTakeItsTimeAndNotStandStill(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, nil, time.Hour)
	text := strings.Repeat("slow", 8)
	digest := ""
	for _, id := range []string{"b", "c"} {
		var err error
		if digest, _, err = c.disks[id].Create(t.Context(), strings.NewReader(text), 100); err != nil {
			t.Fatal(err)
		}
	}
	gone := make(chan struct{})
	send := func(id string, each time.Duration, stands bool) {
		serve := c.servers[id].Config.Handler
		c.servers[id].Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				serve.ServeHTTP(w, r)
				return
			}
			for i := range text {
				_, _ = io.WriteString(w, text[i:i+1])
				_ = http.NewResponseController(w).Flush()
				if stands && i == len(text)/2 {
					<-r.Context().Done()
					close(gone)
					return
				}
				<-time.After(each)
			}
		})
	}
	send("b", 0, true)
	send("c", 2*stall/time.Duration(len(text)), false)
	if got := read(t, c.keepers["a"], digest); got != text {
		t.Errorf("read %q", got)
	}
	<-gone
}
