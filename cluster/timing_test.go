package cluster

import (
	"testing"
	"time"
)

func TestTimingRelations(t *testing.T) {
	for _, name := range []string{"", "lan", "fast", "wan"} {
		p, err := TimingProfile(name)
		must(t, err)
		must(t, p.Check())
	}
	if _, err := TimingProfile("moon"); err == nil {
		t.Error("profile moon exists")
	}
	good, _ := TimingProfile("lan")
	for what, spoil := range map[string]func(*Timing){
		"short election": func(p *Timing) { p.Election = p.Heartbeat / 2 },
		"long lease":     func(p *Timing) { p.Lease = p.Heartbeat },
		"slow commit":    func(p *Timing) { p.Commit = p.Heartbeat },
		"no heartbeat":   func(p *Timing) { p.Heartbeat = 0 },
		"no lease":       func(p *Timing) { p.Lease = 0 },
		"no commit":      func(p *Timing) { p.Commit = 0 },
		"hour":           func(p *Timing) { p.Election = time.Hour },
	} {
		p := good
		spoil(&p)
		if p.Check() == nil {
			t.Errorf("%s: %+v passes", what, p)
		}
	}
}
