package service

import (
	"context"
	"os"

	kardianos "github.com/kardianos/service"
)

// exitError is the exit code when the manager could not be answered.
const exitError = 1

// Run runs f and returns its exit code. If the service control manager started this process, it does so as the manager
// wants it.
func Run(ctx context.Context, f func(context.Context) int) int {
	if kardianos.Interactive() {
		return f(ctx)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := kardianos.New(&managed{run: f, ctx: ctx, stop: stop, done: make(chan struct{})},
		&kardianos.Config{Name: "scaleout"})
	if err != nil {
		return exitError
	}
	if err := s.Run(); err != nil {
		return exitError
	}
	return 0
}

// managed is this process as the manager sees it.
type managed struct {
	run  func(context.Context) int
	ctx  context.Context
	stop context.CancelFunc
	done chan struct{}
}

// Start must return at once; the manager counts the service as running from then on.
func (m *managed) Start(kardianos.Service) error {
	go func() {
		code := m.run(m.ctx)
		if m.ctx.Err() == nil {
			// It ended by itself. Only a process that is gone without a word of its stop is started again.
			os.Exit(code)
		}
		close(m.done)
	}()
	return nil
}

// Stop waits for the orderly end: the manager is told that the stop is pending.
func (m *managed) Stop(kardianos.Service) error {
	m.stop()
	<-m.done
	return nil
}
