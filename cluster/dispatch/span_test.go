package dispatch

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// A tolerance is either refused or kept: a lease whose end was computed beyond all numbers would be over at once, while
// the worker runs on.
func TestAHugeTolerance(t *testing.T) {
	// the last that fits into a duration; one per cent more does not
	const overflow = math.MaxInt64 / int64(time.Millisecond)
	for _, c := range []struct {
		ms int64
		ok bool
	}{
		{command.MaxSpanMs, true},
		{command.MaxSpanMs + 1, false},
		{overflow, false},
		{overflow + 1, false},
		{math.MaxInt64, false},
	} {
		t.Run(fmt.Sprint(c.ms), func(t *testing.T) {
			within(t, func(h *harness) {
				reg := registration(one, "i1", 1, ".sh")
				reg.ToleranceMs = c.ms
				_, err := h.d.Register(h.ctx, reg, time.Now())
				if c.ok != (err == nil) || err != nil && code(err) != string(command.FamilyInvalidArgument) &&
					code(err) != "lease_too_short" {
					t.Fatalf("registered: %v", err)
				}
				if err != nil {
					return
				}
				h.do(&command.EnableWorker{ID: one, Enabled: true})
				id := h.start("a.sh", 0) // the only attempt: it has the whole tolerance
				h.gives("its attempt", h.exchange(h.poll(one)), id)
				end, ok := h.d.NextDeadline()
				if tolerance := time.Duration(c.ms) * time.Millisecond; !ok || time.Until(end) <= tolerance {
					t.Fatalf("the lease ends in %v, the worker gives up after %v", time.Until(end), tolerance)
				}
				time.Sleep(24 * time.Hour)
				if err := h.d.Sweep(h.ctx); err != nil {
					t.Fatal(err)
				}
				h.status(id, catalog.Running)
			})
		})
	}
}

// A certificate's name is one name for the registration and for every exchange: the catalog's equality decides.
func TestACertificateSpeaksForItsWorkerInAnyCase(t *testing.T) {
	for _, c := range []struct {
		name, cert string
		may        bool
	}{
		{"as it was bound", "cert-1", true},
		{"in another case", "Cert-1", true},
		{"another one", "cert-2", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			within(t, func(h *harness) {
				h.worker(one, 1)
				p := h.poll(one)
				p.CertName = c.cert
				_, err := h.d.Exchange(h.ctx, p)
				var no *command.Rejection
				if c.may && err != nil || !c.may && (!errors.As(err, &no) || no.Code != command.CodeAgentIDTaken) {
					t.Error(err)
				}
			})
		})
	}
}
