package dev

import (
	"errors"
	"testing"
	"time"

	"scaleout/httpapi/wire"
)

func TestARemovedMasterIsNotWaitedFor(t *testing.T) {
	type look struct {
		after  time.Duration
		member bool
		want   bool
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"a member", []look{{0, true, false}, {time.Hour, true, false}}},
		{"one that joins", []look{{0, false, false}, {removalTime - 1, false, false}, {removalTime, true, false}}},
		{"removed", []look{{0, false, false}, {removalTime - 1, false, false}, {removalTime, false, true}}},
		{"removed later", []look{{0, true, false}, {time.Hour, false, false}, {time.Hour + removalTime, false, true}}},
		{"a member between", []look{{0, false, false}, {time.Second, true, false}, {removalTime, false, false},
			{2 * removalTime, false, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r removal
			begun := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
			for _, l := range c.looks {
				answer := wire.Ready{Checks: []wire.Check{{Name: "leader"}, {Name: wire.CheckMember, OK: l.member}}}
				if got := r.certain(answer, begun.Add(l.after)); got != l.want {
					t.Errorf("after %v: %t, want %t", l.after, got, l.want)
				}
			}
		})
	}
}

func TestWaitingEnds(t *testing.T) {
	c, _ := running(t)
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	wrong := errors.New("it will not become ready")
	if err := c.until(t.Context(), "master-1", func() (bool, error) { return false, wrong }); !errors.Is(err, wrong) {
		t.Error("an error:", err)
	}
	if err := c.until(t.Context(), "master-1", func() (bool, error) { return true, nil }); err != nil {
		t.Error("ready:", err)
	}
	ended := c.child("worker-1")
	ended.process.Kill()
	<-ended.process.Done()
	if err := c.until(t.Context(), "worker-1", func() (bool, error) { return false, nil }); err == nil ||
		err.Error() != c.endedError(ended).Error() {
		t.Error("an end:", err)
	}
}
