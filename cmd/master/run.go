package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"scaleout/cmd/master/status"
	"scaleout/fsm/logkey"
	"scaleout/httpapi"
)

// Crash ends a master within its process as a power cut would: from now on nothing reaches the disk, nothing is handed
// over and nobody is answered. It is for tests; Run returns soon after.
func (m *Master) Crash() {
	m.crashed.Do(func() {
		m.transport.CutRaft() // first: what is not kept must not be told
		m.dir.Freeze()
		close(m.crash)
	})
}

// stopTime bounds each stage of an orderly stop.
const stopTime = 10 * time.Second

// Run serves until ctx ends and then stops: not ready → hand leadership over → answer held calls → finish what is in
// flight → leave the cluster's conversation → close the log, the data directory and its lock. It returns early, with
// the reason, when a part cannot go on.
func (m *Master) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	runCtx, fail := context.WithCancelCause(base)
	defer fail(nil)
	var port, parts sync.WaitGroup
	portCtx, closePort := context.WithCancel(base)
	nodeCtx, leave := context.WithCancel(base)
	startPart := func(group *sync.WaitGroup, name string, run func() error) {
		group.Go(func() {
			if err := run(); err != nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	servers := m.servers()
	startPart(&port, "port", func() error { return m.transport.Run(portCtx) })
	startPart(&port, "certificates", func() error { return m.creds.Run(portCtx) })
	startPart(&port, "http", func() error { return m.api.Run(portCtx) })
	for _, s := range servers {
		startPart(&port, s.name, func() error {
			if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) && portCtx.Err() == nil {
				return err
			}
			return nil
		})
	}
	startPart(&parts, "blobs", func() error { return m.keeper.Run(nodeCtx, m.node.CaughtUp()) })
	startPart(&parts, "backups", func() error { return m.backups.Run(nodeCtx) })
	startPart(&parts, "cluster", func() error {
		err := m.node.Run(nodeCtx)
		if err == nil && nodeCtx.Err() == nil {
			err = errors.New("the node ended by itself")
		}
		return err
	})
	m.log.LogAttrs(ctx, slog.LevelInfo, "master started", slog.String(logkey.Address, m.advertise),
		slog.String(logkey.MasterID, m.ID()), slog.String(logkey.Version, m.cfg.Version))

	select {
	case <-ctx.Done():
		m.log.LogAttrs(ctx, slog.LevelInfo, "master stops")
	case <-m.crash:
		for _, s := range servers {
			s.server.Close()
		}
	case <-runCtx.Done():
		m.log.LogAttrs(ctx, slog.LevelError, "master cannot go on", slog.Any(logkey.Err, context.Cause(runCtx)))
	}
	m.end(base, servers)
	leave()
	if m.fsm.Err() != nil {
		m.fsm.Stop() // it stands still and would hold Raft for ever
	}
	parts.Wait()
	closePort()
	port.Wait()
	err := context.Cause(runCtx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, m.closeDirectory())
}

// end hands over and answers what is held. After a crash there is nothing to do in good order.
func (m *Master) end(base context.Context, servers []portServer) {
	m.health.Drain()
	select {
	case <-m.crash:
		close(m.stopping)
		return
	default:
	}
	bounded(base, stopTime, func(ctx context.Context) {
		if err := m.node.StepDown(ctx); err != nil {
			m.log.LogAttrs(ctx, slog.LevelWarn, "leadership not handed over; the others elect", slog.Any(logkey.Err, err))
		}
	})
	close(m.stopping)
	bounded(base, stopTime, func(ctx context.Context) {
		var group sync.WaitGroup
		for _, s := range servers {
			group.Go(func() {
				if err := s.server.Shutdown(ctx); err != nil {
					m.log.LogAttrs(ctx, slog.LevelWarn, "calls cut off at the stop", slog.String(logkey.Door, s.name),
						slog.Any(logkey.Err, err))
					s.server.Close()
				}
			})
		}
		group.Wait()
	})
}

// closeDirectory closes log and lock. A disk that hangs must not keep the process alive: its lock ends with it.
func (m *Master) closeDirectory() error {
	done := make(chan error, 1)
	go func() { done <- m.dir.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(stopTime):
		return fmt.Errorf("data directory %s: a write does not end", m.cfg.DataDirectory)
	}
}

func bounded(ctx context.Context, limit time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f(ctx)
}

// portServer is one of the port's listeners with its server.
type portServer struct {
	name     string
	listener net.Listener
	server   *httpapi.Server
}

// servers returns a server for each kind of caller: users and workers; those who have shown no certificate of this
// cluster, for whom the same handler has little; and the other masters, who may also ask what only masters may.
func (m *Master) servers() []portServer {
	bounds := httpapi.Bounds{Head: m.cfg.Times.Head, Idle: m.cfg.Times.Idle}
	public := httpapi.NewServer(m.api.Handler(), m.log, bounds)
	strangers := httpapi.NewServer(m.api.Handler(), m.log,
		httpapi.Bounds{Head: m.cfg.Times.Head, Idle: m.cfg.Times.IdleStranger})
	inner := http.NewServeMux()
	inner.Handle("/peer/blobs/", m.keeper.Handler())
	inner.Handle("GET "+status.Path, m.status)
	inner.Handle("/peer/", m.node.PeerHandler())
	inner.Handle("/", m.api.Handler())
	bounds.HeadBytes = 64 << 10 // a caller's whole head, and what a master adds to it
	peer := httpapi.NewServer(m.transport.PeerHandler(inner), m.log, bounds)
	return []portServer{{"https", m.transport.HTTP(), public}, {"strangers", m.transport.Strangers(), strangers},
		{"peers", m.transport.Peer(), peer}}
}
