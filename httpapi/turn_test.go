package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/httpapi/service"
)

// TestOneCallersCallsTakeTurns: of one caller's calls only so many compute at a time, and those of others go on.
func TestOneCallersCallsTakeTurns(t *testing.T) {
	var computing atomic.Int64
	var others atomic.Bool // it is others whose calls compute
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	w := newWorld(t, 1, func(c *parts) {
		settings := c.calls.Settings
		c.calls.Settings = func() procedure.Config { // a plan computes
			if !others.Load() {
				computing.Add(1)
				<-gate
			}
			return settings()
		}
	})
	n := w.nodes[0]
	url := n.srv.URL + "/v1/catalog/procedures/enable_scaleout"
	places := int64(cap(service.NewTurns()))
	var group sync.WaitGroup
	for range places + 5 {
		group.Go(func() {
			if g := do(t, w.as(&root), "POST", url, "{}"); g.StatusCode != 200 {
				t.Error(g.StatusCode, g.body)
			}
		})
	}
	eventually(t, "all calls are under way", func() bool {
		n.api.quotas.mu.Lock()
		defer n.api.quotas.mu.Unlock()
		a := n.api.quotas.accounts["user root"]
		return a != nil && a.calls == int(places)+5 && len(a.turns) == int(places) && computing.Load() == places
	})
	others.Store(true)
	if g := do(t, w.as(&runner), "GET", n.srv.URL+"/v1/catalog/views/folders", ""); g.StatusCode != 200 {
		t.Error(g.StatusCode, g.body)
	}
	if got := computing.Load(); got != places {
		t.Errorf("%d calls compute at a time, want %d", got, places)
	}
	others.Store(false)
	open()
	group.Wait()
	if got := computing.Load(); got < places+5 {
		t.Errorf("%d calls computed", got)
	}
}

// TestWaitingTakesNoTurn: calls that wait for a commit leave their places to others of the same caller.
func TestWaitingTakesNoTurn(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	var waiting atomic.Int64
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	wait := func(command.Envelope) error {
		waiting.Add(1)
		<-gate
		return nil
	}
	n.propose.Store(&wait)
	many := int64(3*cap(service.NewTurns()) + 1)
	var group sync.WaitGroup
	for range many {
		group.Go(func() {
			if g := do(t, w.as(&root), "POST", n.srv.URL+"/v1/catalog/procedures/enable_scaleout", "{}"); g.StatusCode != 200 {
				t.Error(g.StatusCode, g.body)
			}
		})
	}
	eventually(t, "all wait for their commits", func() bool { return waiting.Load() == many })
	open()
	group.Wait()
	eventually(t, "every place is given back", func() bool {
		n.api.quotas.mu.Lock()
		defer n.api.quotas.mu.Unlock()
		return len(n.api.quotas.accounts["user root"].turns) == 0
	})
}

// TestRefusalsAreHeldBack: whoever goes on in spite of refusals is answered later and later, up to a bound; others are
// not, and a caller who has paused is answered at once again.
func TestRefusalsAreHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		a := &API{log: slog.New(slog.DiscardHandler), quotas: newQuotas(Limits{}), metrics: counted}
		a.stopping, a.stop = context.WithCancel(t.Context())
		refusal := func(account string, err error) time.Duration {
			t.Helper()
			began := time.Now()
			rec := httptest.NewRecorder()
			hr := httptest.NewRequest("GET", "/v1/catalog/views/folders", nil)
			r := &request{Request: hr, route: &route{name: "x"}, account: account,
				w: newProgress(rec, hr, time.Hour, bodyTimes{})}
			a.fail(r, err)
			r.w.finish()
			if rec.Code < 400 {
				t.Error(rec.Code)
			}
			return time.Since(began)
		}
		for i := range refusalsPerSecond {
			if d := refusal("user held", errForbidden); d != 0 {
				t.Fatalf("refusal %d came after %v", i, d)
			}
		}
		if d := refusal("user held", &service.LimitReached{Limit: "MaxX"}); d != time.Second/refusalsPerSecond {
			t.Errorf("the next one came after %v", d)
		}
		var most atomic.Int64
		var group sync.WaitGroup
		for range 20 * refusalsPerSecond {
			group.Go(func() {
				d := int64(refusal("user held", errForbidden))
				for m := most.Load(); d > m && !most.CompareAndSwap(m, d); m = most.Load() {
				}
			})
		}
		synctest.Wait()
		if d := refusal("user other", errForbidden); d != 0 {
			t.Errorf("another caller was answered after %v", d)
		}
		if d := refusal("user held", errNotFound); d != 0 {
			t.Errorf("an answer that is no refusal came after %v", d)
		}
		group.Wait()
		if got := time.Duration(most.Load()); got != longestRefusal {
			t.Errorf("the longest refusal took %v, want %v", got, longestRefusal)
		}
		time.Sleep(2 * longestRefusal)
		if d := refusal("user held", errForbidden); d != 0 {
			t.Errorf("after a pause a refusal took %v", d)
		}
	})
}

// TestAHeldRefusalEndsWithTheMaster: a stop does not wait for it.
func TestAHeldRefusalEndsWithTheMaster(t *testing.T) {
	w := newWorld(t, 1)
	a := w.nodes[0].api
	for a.quotas.refuse("user nobody") < longestRefusal {
	}
	a.stop()
	if g := do(t, w.as(&nobody), "GET", w.nodes[0].srv.URL+"/v1/cluster", ""); g.StatusCode != http.StatusForbidden {
		t.Fatal(g.StatusCode, g.body)
	}
}
