package worker

import (
	"fmt"
	"testing"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

func TestWorthExtending(t *testing.T) {
	at := func(d time.Duration) guard.Lease {
		return guard.Lease{
			From: guard.Instant{Mono: time.Hour + d, Boot: time.Hour + d, Wall: int64(time.Hour + d)},
			For:  time.Minute,
		}
	}
	longer := at(0)
	longer.For = 10 * time.Minute
	for name, c := range map[string]struct {
		have, renewed guard.Lease
		want          bool
	}{
		"the same":       {at(0), at(0), false},
		"a moment later": {at(0), at(time.Second), false},
		"much later":     {at(0), at(10 * time.Second), true},
		"another length": {at(0), longer, true},
		"adopted":        {guard.Lease{}, at(0), true},
		"no renewal yet": {guard.Lease{}, guard.Lease{}, false},
		"an earlier one": {at(time.Minute), at(0), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := worthExtending(c.have, c.renewed); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestLeaseStart(t *testing.T) {
	before, now := guard.Now(), time.Now()
	if got := leaseStart(before, now, now.Add(time.Second)); before.Since(got) != time.Second {
		t.Errorf("%v later", before.Since(got))
	}
	if got := leaseStart(before, now, time.Time{}); got != before {
		t.Error("if the time of sending is unknown, the lease must begin before the call")
	}
}

func TestRunTimeoutOf(t *testing.T) {
	option := func(name, value string) []wire.Parameter {
		return []wire.Parameter{{Name: "LOGGING_LEVEL", Value: "1"}, {Name: name, Value: value}}
	}
	for _, test := range []struct {
		name    string
		options []wire.Parameter
		want    int64
	}{
		{"none", nil, 0},
		{"another option", option("RUN_TIME", "5"), 0},
		{"seconds", option("RUN_TIMEOUT", "90"), 90},
		{"zero", option("RUN_TIMEOUT", "0"), 0},
		{"negative", option("RUN_TIMEOUT", "-1"), 0},
		{"not a number", option("RUN_TIMEOUT", "1m"), 0},
		{"too long for a duration", option("RUN_TIMEOUT", "9223372036854775807"), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := runTimeoutOf(test.options); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

func TestPollTime(t *testing.T) {
	for _, test := range []struct {
		name             string
		lease, heartbeat time.Duration
		running          int
		want             time.Duration
	}{
		{"nothing runs", 3 * time.Minute, 10 * time.Second, 0, longestHold},
		{"nothing runs, short lease", 30 * time.Second, 10 * time.Second, 0, 10 * time.Second},
		{"the heartbeat decides", time.Minute, 5 * time.Second, 1, 5 * time.Second},
		{"the lease decides", time.Minute, 30 * time.Second, 1, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &Worker{cfg: Config{LeaseInterval: test.lease, TaskHeartbeat: test.heartbeat}}
			if got := w.pollTime(test.running); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// A refusal that will stay the same ends the worker: some always, others only at its first registration.
func TestRefusedRegistrations(t *testing.T) {
	for _, test := range []struct {
		name         string
		err          error
		first, later bool
	}{
		{"lease too short", &client.Error{Code: wire.CodeLeaseTooShort}, true, true},
		{"another worker's id", &client.Error{Code: wire.CodeAgentIDTaken}, true, true},
		{"forbidden", &client.Error{Code: wire.CodeForbidden}, true, false},
		{"another cluster", &client.Error{Code: wire.CodeUnknownCluster}, true, false},
		{"an argument", fmt.Errorf("register: %w", &client.Error{Code: wire.CodeInvalidArgument}), true, false},
		{"no leader", &client.Error{Code: wire.CodeNoLeader}, false, false},
		{"unreachable", client.ErrUnreachable, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if first, later := refused(test.err, true), refused(test.err, false); first != test.first || later != test.later {
				t.Errorf("first %v, later %v; want %v, %v", first, later, test.first, test.later)
			}
		})
	}
}
