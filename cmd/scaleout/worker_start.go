package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cluster/pki"
	"scaleout/cmd/dev/process"
	"scaleout/cmd/scaleout/settings"
	"scaleout/cmd/service"
	"scaleout/cmd/worker"
	"scaleout/fsm/logkey"
)

// workerStopTimeout is how long a worker whose dev process is gone may take to kill its packages and leave.
const workerStopTimeout = 20 * time.Second

func (a *app) workerStart() *cobra.Command {
	var w settings.Worker
	var file string
	var leaveAfter time.Duration
	set := settings.NewWorker(&w)
	cmd := &cobra.Command{
		Use: "start", Short: "Run a worker", Args: cobra.NoArgs,
		Long: `Run a worker. On SIGTERM or Ctrl-C it drains: what runs is finished and reported, nothing new is taken. A
second signal kills what runs.

With --leave-after it drains for at most that long and then leaves what still runs to its guards: the next 'worker
start' on the same directories adopts it, if it comes within the packages' leases. That is how a worker is restarted or
upgraded while long packages run.

Each setting comes from its flag, else from the environment (SCALEOUT_WORKER_MAX_TASK_COUNT), else from the file, else
from its default. 'scaleout config check FILE' explains a file.`,
		Example: `  scaleout worker start --config WorkerSettings.config
  scaleout worker start --config WorkerSettings.config --master-endpoint https://m1:8391,https://m2:8391`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := set.Load(file, os.LookupEnv); err != nil {
				return &statusError{exitOperator, settingsError(err)}
			}
			if !cmd.Flags().Changed("leave-after") {
				leaveAfter = -1
			}
			return a.runWorker(cmd, w, set, leaveAfter)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "settings file, such as WorkerSettings.config")
	cmd.Flags().DurationVar(&leaveAfter, "leave-after",
		0, "after SIGTERM, how long to wait for what runs before it is left to its guards; default: until it has ended")
	set.Flags(cmd.Flags())
	return cmd
}

// runWorker runs a worker; a negative leaveAfter means that it drains until nothing runs.
func (a *app) runWorker(cmd *cobra.Command, s settings.Worker, set *settings.Set, leaveAfter time.Duration) error {
	name := certificateName(s.CertFile)
	if name == "" {
		name = "worker"
	}
	folder, err := service.Folder(s.LogFolder, service.PartWorker)
	if err != nil {
		return err
	}
	log, closer, err := service.OpenLog(cmd.ErrOrStderr(), folder, name, a.level())
	if err != nil {
		return err
	}
	defer closer.Close()
	log.LogAttrs(cmd.Context(), slog.LevelInfo, "scaleout worker starts", slog.String(logkey.Version, version),
		slog.String(logkey.Name, name), slog.Int(logkey.PID, os.Getpid()), slog.String(logkey.Path, s.DataDirectory))
	sayWithoutEffect(cmd.Context(), log, set)
	err = func() error {
		files := workerCredentials(s)
		files.Logger = log
		creds, err := pki.OpenCredentials(files)
		if err != nil {
			// The check is the same for both sides; only the setting's name differs.
			return fmt.Errorf("%s", strings.ReplaceAll(err.Error(), "SSLCertThumbprint", "WorkerHttpsCertThumbprint"))
		}
		c, err := worker.Connect(strings.Join(s.MasterEndpoint, ","), creds, log)
		if err != nil {
			return err
		}
		cfg, err := workerConfig(s, name)
		if err != nil {
			return err
		}
		cfg.Masters, cfg.Logger = c, log
		w, err := worker.New(cfg)
		if err != nil {
			return err
		}
		ctx, end := killable(cmd.Context(), cmd.InOrStdin(), w.Kill)
		defer end()
		if leaveAfter >= 0 {
			defer context.AfterFunc(ctx, func() { time.AfterFunc(leaveAfter, w.Leave) })()
		}
		defer service.Announce(ctx, log, workerHeartbeat(ctx, w, s.DataDirectory, log))()
		return serve(ctx, w, creds)
	}()
	if err != nil {
		log.LogAttrs(cmd.Context(), slog.LevelError, "scaleout worker ends", slog.Any(logkey.Err, err))
		return err
	}
	log.LogAttrs(cmd.Context(), slog.LevelInfo, "scaleout worker has stopped")
	return nil
}

// workerHeartbeat also keeps the file that 'scaleout ready --worker' reads.
func workerHeartbeat(ctx context.Context, w *worker.Worker, dir string, log *slog.Logger) service.Heartbeat {
	return service.Heartbeat{
		Waiting: func(context.Context) string { return w.Waiting() },
		Alive:   w.Alive,
		Looked: func(waiting string) {
			if err := service.WriteHealth(dir, waiting); err != nil {
				log.LogAttrs(ctx, slog.LevelWarn, "the health file could not be written", slog.Any(logkey.Err, err))
			}
		},
		Ended: func() { service.RemoveHealth(dir) },
	}
}

// serve runs the worker and watches its certificate files until the worker has drained.
func serve(ctx context.Context, w *worker.Worker, creds *pki.Credentials) error {
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = creds.Run(watch) })
	err := w.Run(ctx)
	stop()
	wg.Wait()
	return err
}

// killable calls kill on the second signal after the one that ended ctx, or when the dev process says so or is gone.
func killable(ctx context.Context, in io.Reader, kill func()) (context.Context, func()) {
	if process.IsChild() {
		ctx = process.Obey(ctx, in, func() {
			exitAfter(workerStopTimeout, exitError)
			kill()
		})
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-signals:
				if n == 1 {
					kill()
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
	}
}

func workerCredentials(s settings.Worker) pki.CredentialsConfig {
	return pki.CredentialsConfig{
		Files:      pki.Files{CA: s.CACertFile, Cert: s.CertFile, Key: s.KeyFile},
		Thumbprint: s.WorkerHttpsCertThumbprint, Pins: strings.Join(s.MasterHttpsCertThumbprint, ","),
	}
}

// workerConfig maps the settings file to a worker's configuration; name is the certificate's.
func workerConfig(s settings.Worker, name string) (worker.Config, error) {
	tasks := s.TasksRootFolder
	if tasks == "" {
		root, err := service.Folder("", service.PartTasks)
		if err != nil {
			return worker.Config{}, err
		}
		// Two workers of one account need folders of their own: each adopts the tasks that it finds.
		tasks = filepath.Join(root, service.FileName(name))
	}
	return worker.Config{
		DataDirectory: s.DataDirectory, AgentID: s.AgentId, DisplayName: s.DisplayName, Description: s.Description,
		MaxTaskCount: s.MaxTaskCount, LeaseInterval: time.Duration(s.LeaseInterval),
		TaskHeartbeat:  time.Duration(s.TaskHeartbeatInterval),
		AgentHeartbeat: time.Duration(s.AgentHeartbeatInterval), ErrorTolerance: time.Duration(s.HeartbeatErrorTolerance),
		TasksRootFolder: tasks, Runners: s.Runners, Version: version,
	}, nil
}
