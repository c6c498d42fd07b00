package main

import (
	"context"
	"os"

	"github.com/kardianos/service"
)

// underManager runs f as the service control manager wants it, when it is the one that started this process.
func underManager(ctx context.Context, f func(context.Context) int) int {
	if service.Interactive() {
		return f(ctx)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := service.New(&managed{run: f, ctx: ctx, stop: stop, done: make(chan struct{})}, &service.Config{Name: "scaleout"})
	if err != nil {
		return exitError
	}
	if err := s.Run(); err != nil {
		return exitError
	}
	return exitOK
}

// managed is this process as the manager sees it.
type managed struct {
	run  func(context.Context) int
	ctx  context.Context
	stop context.CancelFunc
	done chan struct{}
}

// Start must return at once; the manager counts the service as running from then on.
func (m *managed) Start(service.Service) error {
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
func (m *managed) Stop(service.Service) error {
	m.stop()
	<-m.done
	return nil
}
