package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"scaleout/cmd/master"
	"scaleout/cmd/worker"
)

// pulse is what a service tells its manager about itself.
type pulse struct {
	// waiting is what the service waits for before it can serve; "" when it can.
	waiting func(context.Context) string
	// alive is an error when the service does not work any more and only a restart helps.
	alive func(context.Context) error
	// started, when true, makes the service count as started before it can serve.
	started bool
	// seen is called with each look at waiting; nil: nobody wants to know.
	seen func(waiting string)
	// ended is called when the service has ended; nil: nothing to do.
	ended func()
}

const (
	lookEvery = 250 * time.Millisecond // until the service can serve
	lookLater = 5 * time.Second        // from then on
)

// masterPulse: a master that was a member before counts as started once it can serve, so that whoever restarts masters
// one after the other waits for each. A new one counts as started at once: it may need the next ones to be started.
func masterPulse(m *master.Master) pulse {
	return pulse{waiting: m.Waiting, alive: m.Alive, started: m.Fresh()}
}

// workerPulse: a worker has no port, so a file in its data directory says how it is; 'scaleout ready --worker' reads it.
func workerPulse(w *worker.Worker, dir string, log *slog.Logger) pulse {
	path := filepath.Join(dir, vitalFile)
	return pulse{
		waiting: func(context.Context) string { return w.Waiting() },
		alive:   w.Alive,
		seen: func(waiting string) {
			if err := writeVital(path, vital{PID: os.Getpid(), Time: time.Now(), Waiting: waiting}); err != nil {
				log.Warn("health file", "err", err)
			}
		},
		ended: func() { os.Remove(path) },
	}
}

// announce tells systemd, where it asks, that the service has started, that it lives and that it stops, until the function
// that it returns is called. A service that is not alive stays silent: the watchdog then ends it.
func announce(ctx context.Context, log *slog.Logger, p pulse) (end func()) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("watchdog", "err", err)
	}
	h := &herald{pulse: p, log: log, watchdog: watchdog, ready: p.started}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { h.run(ctx, life) })
	return func() {
		stop()
		wg.Wait()
		if p.ended != nil {
			p.ended()
		}
	}
}

type herald struct {
	pulse
	log      *slog.Logger
	watchdog time.Duration // 0: none
	ready    bool
	said     string
	stopping bool
}

func (h *herald) run(ctx, life context.Context) {
	if h.ready {
		h.say(daemon.SdNotifyReady)
	}
	stops := ctx.Done()
	for {
		h.look(life)
		every := lookLater
		if !h.ready {
			every = lookEvery
		}
		if h.watchdog > 0 {
			every = min(every, h.watchdog/3)
		}
		select {
		case <-life.Done():
			return
		case <-stops:
			h.stopping, stops = true, nil
			h.say(daemon.SdNotifyStopping + "\nSTATUS=stopping")
		case <-time.After(every):
		}
	}
}

// look takes one look at the service and says what is new.
func (h *herald) look(life context.Context) {
	ctx, cancel := context.WithTimeout(life, probeTime)
	defer cancel()
	waiting := h.waiting(ctx)
	if h.seen != nil {
		h.seen(waiting)
	}
	status := "serving"
	if waiting != "" {
		status = "waiting: " + waiting
	}
	if status != h.said && !h.stopping {
		h.said = status
		h.say("STATUS=" + status)
	}
	if waiting == "" && !h.ready {
		h.ready = true
		h.say(daemon.SdNotifyReady)
	}
	if h.watchdog <= 0 {
		return
	}
	// What stops answers its own port no more; how long that may take is not the watchdog's business.
	if err := h.alive(ctx); err != nil && !h.stopping && life.Err() == nil {
		h.log.Error("the watchdog is not told that this service lives", "err", err)
		return
	}
	h.say(daemon.SdNotifyWatchdog)
}

func (h *herald) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		h.log.Warn("systemd was not told", "state", state, "err", err)
	}
}

// vitalFile is a worker's health in its data directory.
const vitalFile = "health.json"

// vital is how a worker was when it last looked.
type vital struct {
	PID     int       `json:"pid"`
	Time    time.Time `json:"time"`
	Waiting string    `json:"waiting"` // "" when it exchanges with the masters
}

// vitalFor is how old a health file may be: some looks may have been late.
const vitalFor = 4 * lookLater

func writeVital(path string, v vital) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// readVital is an error when the worker of a data directory does not work with the masters.
func readVital(dir string, now time.Time) error {
	path := filepath.Join(dir, vitalFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no worker runs in %s", dir)
	} else if err != nil {
		return err
	}
	var v vital
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if age := now.Sub(v.Time); age > vitalFor {
		return fmt.Errorf("the worker of %s (pid %d) has said nothing for %v", dir, v.PID, age.Round(time.Second))
	}
	if v.Waiting != "" {
		return errors.New(v.Waiting)
	}
	return nil
}
