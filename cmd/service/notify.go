package service

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"scaleout/fsm/logkey"
)

// Heartbeat is how a running service answers for itself.
type Heartbeat struct {
	// Waiting is what the service waits for before it can serve; "" when it can.
	Waiting func(context.Context) string
	// Alive is an error when the service does not work any more and only a restart helps.
	Alive func(context.Context) error
	// Started, when true, makes the service count as started before it can serve.
	Started bool
	// Looked is called after each look at Waiting; it may be nil.
	Looked func(waiting string)
	// Ended is called when the service has ended; it may be nil.
	Ended func()
}

const (
	lookTimeout  = 3 * time.Second
	lookEvery    = 250 * time.Millisecond // until the service can serve
	lookInterval = 5 * time.Second        // from then on
)

// Announce tells systemd, where it asks, that the service has started, that it lives and, when ctx ends, that it stops.
// It does so until the function that it returns is called. If the service is not alive, nothing is said, and the
// watchdog ends it.
func Announce(ctx context.Context, log *slog.Logger, h Heartbeat) (end func()) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.LogAttrs(ctx, slog.LevelWarn, "what systemd says of the watchdog cannot be read",
			slog.Any(logkey.Err, err))
	}
	n := &notifier{Heartbeat: h, log: log, watchdog: watchdog, ready: h.Started, stops: ctx.Done()}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { n.run(running) })
	return func() {
		stop()
		wg.Wait()
		if h.Ended != nil {
			h.Ended()
		}
	}
}

// notifier talks to systemd; it belongs to one goroutine.
type notifier struct {
	Heartbeat
	log      *slog.Logger
	watchdog time.Duration   // 0: none
	stops    <-chan struct{} // closed when the service begins to stop; nil from then on
	ready    bool
	said     string
}

func (n *notifier) run(ctx context.Context) {
	if n.ready {
		n.say(ctx, daemon.SdNotifyReady)
	}
	for {
		n.look(ctx)
		pause := lookInterval
		if !n.ready {
			pause = lookEvery
		}
		if n.watchdog > 0 {
			pause = min(pause, n.watchdog/3)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.stops:
			n.stops = nil
			n.say(ctx, daemon.SdNotifyStopping+"\nSTATUS=stopping")
		case <-time.After(pause):
		}
	}
}

// look takes one look at the service and says what is new.
func (n *notifier) look(ctx context.Context) {
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	waiting := n.Waiting(look)
	if n.Looked != nil {
		n.Looked(waiting)
	}
	stopping := n.stops == nil
	status := "serving"
	if waiting != "" {
		status = "waiting: " + waiting
	}
	if status != n.said && !stopping {
		n.said = status
		n.say(ctx, "STATUS="+status)
	}
	if waiting == "" && !n.ready {
		n.ready = true
		n.say(ctx, daemon.SdNotifyReady)
	}
	if n.watchdog <= 0 {
		return
	}
	// A stopping service does not answer on its own port. The watchdog does not bound how long a stop may take.
	if err := n.Alive(look); err != nil && !stopping && ctx.Err() == nil {
		n.log.LogAttrs(ctx, slog.LevelError, "the watchdog is not told that this service lives",
			slog.Any(logkey.Err, err))
		return
	}
	n.say(ctx, daemon.SdNotifyWatchdog)
}

func (n *notifier) say(ctx context.Context, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "systemd was not told", slog.String(logkey.State, state),
			slog.Any(logkey.Err, err))
	}
}
