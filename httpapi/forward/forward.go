package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// Place is where the leader is, as this node believes.
type Place struct {
	Leader wire.Leader // its Term is the term that this node is in
	Known  bool        // whether there is a leader at all
	Here   bool        // this node leads and is ready
	// Contact is when this node last heard from the leader; now, on the leader itself.
	Contact time.Time
}

// elsewhere reports whether a call that failed at before has another place to go to.
func (p Place) elsewhere(before Place) bool {
	return p.Here != before.Here || (p.Known && (p.Leader.ID != before.Leader.ID || p.Leader.Term > before.Leader.Term))
}

// Outcome is what an error says about a call.
type Outcome int

// The outcomes of a call that failed.
const (
	Final      Outcome = iota // the error is the answer
	NotApplied                // certainly nothing happened: the call may be repeated
	Unknown                   // it may have happened
)

// Config is what a Forwarder needs.
type Config struct {
	// Self is this node's id, Name its name.
	Self, Name string
	// Where tells where the leader is now; Changed is closed at the next change of the leader, of the term, or of this
	// node's readiness to lead.
	Where   func() Place
	Changed func() <-chan struct{}
	// Stopping is closed when this node is about to stop.
	Stopping <-chan struct{}
	// Transport authenticates this master to others, and others to this one. URL is the leader's base URL for it.
	Transport http.RoundTripper
	URL       func(wire.Leader) string
	// Outcome classifies the errors of Call.Local.
	Outcome func(error) Outcome
	// Hold is how long a call waits for a leader, less a jitter of a fifth: 10 s.
	Hold time.Duration
	// Quiet is how long the leader may stay silent in a call: 10 s. It sends 102 Processing every 3 s.
	Quiet      time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Forwarder brings calls to the leader. It is safe for concurrent use and starts no goroutine that outlives a call.
type Forwarder struct {
	cfg   Config
	log   *slog.Logger
	tries *prometheus.CounterVec
}

// New checks the configuration and makes a Forwarder.
func New(cfg Config) (*Forwarder, error) {
	switch {
	case cfg.Self == "" || cfg.Name == "":
		return nil, errors.New("forward: Self and Name are required")
	case cfg.Where == nil || cfg.Changed == nil || cfg.Transport == nil || cfg.URL == nil || cfg.Outcome == nil:
		return nil, errors.New("forward: Where, Changed, Transport, URL and Outcome are required")
	}
	if cfg.Hold <= 0 {
		cfg.Hold = 10 * time.Second
	}
	if cfg.Quiet <= 0 {
		cfg.Quiet = 10 * time.Second
	}
	f := &Forwarder{cfg: cfg, log: cfg.Logger}
	if f.log == nil {
		f.log = slog.Default()
	}
	f.tries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scaleout_forward_attempts_total",
		Help: "Calls passed on to the leader, by how that ended.",
	}, []string{"result"})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(f.tries); err != nil {
			return nil, fmt.Errorf("forward: %w", err)
		}
	}
	return f, nil
}

// Call is one call on its way.
type Call struct {
	RequestID string
	Caller    wire.Caller
	// Arrived: another master passed the call on to this one.
	Arrived bool
	// Repeatable: the call may be repeated when its outcome is unknown.
	Repeatable bool
	// Body is the request's body. When Stream is set the body is read from the request instead, once: then a call is
	// repeated only if nothing of it was read.
	Body   []byte
	Stream bool
	// LeaderWait, when set, is how long the caller wants the call to be held at most while nobody leads.
	LeaderWait time.Duration
	// Received is when this master received the call.
	Received time.Time
	// Local handles the call on the leader. An error means that it wrote nothing.
	Local func(http.ResponseWriter, *http.Request) error
	// Stays: the call is about a change of leader itself, so that hearing of one does not end it.
	Stays bool
	// Stopped, when set, answers a call that the leader still holds when this node is about to stop.
	Stopped func(http.ResponseWriter) error
}

// streams says whether a body is read from r.
func (c *Call) streams(r *http.Request) bool {
	return c.Stream && r.Body != nil && r.Body != http.NoBody
}

// Serve handles the call here or passes it on to the leader. A nil error means that an answer was written; before it,
// w may get 102 Processing from another goroutine. An error means that no answer was written: it is one of Call.Local,
// the cause that ended the request's context, or it wraps
//   - command.ErrNoLeader: nobody led for as long as a call is held;
//   - command.ErrNotLeader: the call came from another master, and this one does not lead;
//   - command.ErrStopping: this master stops while the call is held for a leader;
//   - command.ErrUnknownOutcome: the leader got the call and gave no answer, and the call must not be repeated.
func (f *Forwarder) Serve(w http.ResponseWriter, r *http.Request, call *Call) error {
	hold := f.cfg.Hold - rand.N(f.cfg.Hold/5+1)
	if call.Arrived {
		hold = min(hold, establishing)
	}
	if call.LeaderWait > 0 {
		hold = min(hold, call.LeaderWait)
	}
	pause := 20 * time.Millisecond
	var failing time.Time // since when the call has been failing
	stopping := f.cfg.Stopping
	var unknown error // an earlier attempt may have been applied: no later failure makes that undone
	last := func(err error) error {
		if unknown != nil && !errors.Is(err, command.ErrUnknownOutcome) {
			return fmt.Errorf("%w; then: %w", unknown, err)
		}
		return err
	}
	for {
		changed := f.cfg.Changed() // before Where: a change in between is not missed
		place := f.cfg.Where()
		began := time.Now()
		var err error
		outcome, leaderless := NotApplied, false
		switch {
		case place.Here:
			var body *onceBody
			local := r
			if call.streams(r) {
				body = &onceBody{ReadCloser: r.Body}
				local = r.WithContext(r.Context())
				local.Body = body
			}
			if err = call.Local(w, local); err == nil {
				return nil
			}
			if outcome = f.cfg.Outcome(err); !body.seal() {
				return last(err) // only the caller has the body from its beginning
			}
		case call.Arrived && !(place.Known && place.Leader.ID == f.cfg.Self):
			return command.ErrNotLeader
		case place.Known && place.Leader.ID != f.cfg.Self:
			if outcome, err = f.pass(w, r, call, place, changed); err == nil {
				return nil
			}
		default:
			// Nobody leads, or this node is about to. The caller who waits learns at once that this master is alive.
			err, leaderless = command.ErrNoLeader, true
			w.WriteHeader(http.StatusProcessing)
		}
		if outcome == Final || (call.Arrived && place.Here) || (outcome == Unknown && !call.Repeatable) {
			return err
		}
		if outcome == Unknown {
			unknown = err
		}
		if r.Context().Err() != nil {
			return context.Cause(r.Context())
		}
		if worked := time.Since(began) > 2*time.Second; failing.IsZero() || worked {
			failing, pause = time.Now(), 20*time.Millisecond
		}
		left := hold - time.Since(failing)
		if left <= 0 {
			if stopping == nil && f.cfg.Stopping != nil {
				err = fmt.Errorf("%w: %w", command.ErrStopping, err)
			}
			return last(f.exhausted(err))
		}
		if !leaderless {
			// The change that ended the attempt is past. Another place is worth an attempt at once, as each is seen once; the
			// same one only after a pause.
			changed = f.cfg.Changed()
			if f.cfg.Where().elsewhere(place) {
				continue
			}
		}
		t := time.NewTimer(min(left, pause/2+rand.N(pause)))
		pause = min(2*pause, 500*time.Millisecond)
		select {
		case <-t.C:
		case <-changed:
		case <-stopping:
			// Leadership is being handed over: the successor is known in a moment, and a call that was here before the
			// stop shall still reach it.
			stopping, hold = nil, min(hold, time.Since(failing)+stopGrace)
		case <-r.Context().Done():
			t.Stop()
			return context.Cause(r.Context())
		}
		t.Stop()
	}
}

// exhausted is the error after the hold: no leader could be reached, unless the last attempt knows better.
func (f *Forwarder) exhausted(err error) error {
	if errors.Is(err, command.ErrNoLeader) || errors.Is(err, command.ErrUnknownOutcome) ||
		errors.Is(err, command.ErrStopping) {
		return err
	}
	var gone *unreachable
	if errors.As(err, &gone) {
		return fmt.Errorf("%w: %w", command.ErrNoLeader, gone.err)
	}
	return err
}

// establishing is how long a call that another master passed on waits until this one, which has been elected, is ready.
// That takes a few round trips. The master that sent the call looks further when the time is over.
const establishing = 2 * time.Second

// stopGrace is how long a call goes on looking for a leader after this node began to stop.
const stopGrace = time.Second

// unreachable is a leader that could not be connected to, or that does not lead.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }
