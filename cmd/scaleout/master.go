package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cluster/backup"
	"scaleout/cluster/gossip"
	"scaleout/cluster/pki"
	"scaleout/cluster/recovery"
	"scaleout/cluster/transport"
	"scaleout/cmd/dev/process"
	"scaleout/cmd/master"
	"scaleout/cmd/master/config"
	"scaleout/cmd/scaleout/settings"
	"scaleout/cmd/service"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/fsm/procedure"
	"scaleout/httpapi"
	"scaleout/store"
)

func (a *app) masterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "master", Short: "A master: run one, show its log"}
	cmd.AddCommand(a.masterStart(), a.masterLog())
	return cmd
}

// masterStopTimeout is how long a master whose dev process is gone may take to stop in order.
const masterStopTimeout = 10 * time.Second

func (a *app) masterStart() *cobra.Command {
	var m settings.Master
	var file string
	set := settings.NewMaster(&m)
	cmd := &cobra.Command{
		Use: "start", Short: "Run a master", Args: cobra.NoArgs,
		Long: `Run a master until SIGTERM or Ctrl-C; it then hands leadership over and stops in order. A second signal ends it
at once.

Each setting comes from its flag, else from the environment (SCALEOUT_MASTER_PORT_NUMBER), else from the file, else from
its default. 'scaleout config check FILE' explains a file.

Exit codes: 0 stopped, 1 error, 2 usage, 75 the disk stands still (start it again), 78 starting it again does not help:
the settings are wrong, the data directory is damaged or half restored, or it holds what this version does not know
(install a newer one).`,
		Example: `  scaleout master start --config MasterSettings.config
  scaleout master start --config MasterSettings.config --port-number 9391 --timing-profile wan`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := set.Load(file, os.LookupEnv); err != nil {
				return &statusError{exitOperator, settingsError(err)}
			}
			name := masterName(m)
			folder, err := service.Folder(m.LogFolder, service.PartMaster)
			if err != nil {
				return err
			}
			log, closer, err := service.OpenLog(cmd.ErrOrStderr(), folder, name, a.level())
			if err != nil {
				return err
			}
			defer closer.Close()
			ctx := cmd.Context()
			if process.IsChild() {
				ctx = process.Obey(ctx, cmd.InOrStdin(), func() { exitAfter(masterStopTimeout, exitError) })
			}
			log.LogAttrs(ctx, slog.LevelInfo, "scaleout master starts", slog.String(logkey.Version, version),
				slog.String(logkey.Node, name), slog.Int(logkey.PID, os.Getpid()), slog.String(logkey.Path, m.DataDirectory))
			sayWithoutEffect(ctx, log, set)
			cfg := masterConfig(m)
			cfg.Logger = log
			cfg.Exit = func(code int) {
				closer.Close()
				os.Exit(code)
			}
			if err := runMaster(ctx, cfg); err != nil {
				log.LogAttrs(ctx, slog.LevelError, "scaleout master ends", slog.Any(logkey.Err, err))
				if endsForGood(err) {
					return &statusError{exitOperator, err}
				}
				return err
			}
			log.LogAttrs(ctx, slog.LevelInfo, "scaleout master has stopped")
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "settings file, such as MasterSettings.config")
	set.Flags(cmd.Flags())
	return cmd
}

func runMaster(ctx context.Context, cfg master.Config) error {
	m, err := master.New(cfg)
	if err != nil {
		return err
	}
	// A member counts as started once it can serve, so that a rolling restart waits for each master. A new master counts
	// as started at once, since it may need the next ones to be started.
	heartbeat := service.Heartbeat{Waiting: m.Waiting, Alive: m.Alive, Started: m.Fresh()}
	defer service.Announce(ctx, cfg.Logger, heartbeat)()
	return m.Run(ctx)
}

// endsForGood reports whether another start of the master would fail in the same way, until an operator repairs its
// data directory or installs another version.
func endsForGood(err error) bool {
	for _, reason := range []error{
		store.ErrCorrupt, store.ErrNewerFormat, pki.ErrBadKeyRing, recovery.ErrInstalling, command.ErrLevel,
	} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// masterConfig maps the settings file to a master's configuration.
func masterConfig(m settings.Master) master.Config {
	unlimited, _ := settings.Networks(m.UnlimitedAddresses) // Load has checked them
	gossipers, _ := settings.Networks(m.GossipOnlyFrom)
	return master.Config{
		Name: m.NodeName, DataDirectory: m.DataDirectory,
		BindAddress: m.BindAddress, Port: m.PortNumber, GossipPort: m.GossipPort, AdvertiseAddress: m.AdvertiseAddress,
		RetryJoin: m.RetryJoin, BootstrapExpect: m.BootstrapExpect,
		Files:         pki.Files{CA: m.CACertFile, Cert: m.CertFile, Key: m.KeyFile},
		GossipKeyFile: m.GossipKeyFile, KeyRingFile: m.KeyRingFile, Thumbprint: m.SSLCertThumbprint,
		InstanceName: m.InstanceName, Timing: m.TimingProfile,
		Heartbeat: time.Duration(m.MasterHeartbeatIntervalInMs), Expiry: time.Duration(m.DealWithExpiredTasksIntervalInMs),
		Cleanup: time.Duration(m.CleanupCompletedJobsIntervalInMs), RetryDelay: time.Duration(m.RetryDelayInMs),
		RemoveDead:      time.Duration(m.RemoveDeadMastersAfterInMs),
		MaxProjectBytes: int64(m.MaxProjectBytes), MaxUnnamedBlobBytes: int64(m.MaxUnnamedBlobBytes),
		MetricsOpen: m.MetricsOpen, Version: version,
		Limits: httpapi.Limits{
			CallsInFlight: m.MaxCallsInFlight, CallsPerSecond: m.MaxCallsPerSecond, EventStreams: m.MaxEventStreams,
			BodyBytes: int64(m.MaxBodyMemoryBytes), CallerBodyBytes: int64(m.MaxBodyMemoryBytesPerCaller),
		},
		CatalogLimits: procedure.Limits{
			NotStarted: m.MaxExecutionsNotStarted, TaskCount: m.MaxTaskCountLimit, AgentIDs: m.MaxAgentIdsPerCertificate,
			NeverEnabled: m.MaxWorkersNeverEnabled,
		},
		ExpireNeverEnabled: time.Duration(m.ExpireNeverEnabledAfterInMs),
		Backups: backup.Schedule{
			Folder: m.BackupFolder, Interval: time.Duration(m.BackupIntervalInMs), Retain: m.BackupRetain,
			KeyFile: m.BackupKeyFile,
		},
		Connections: transport.Limits{
			Handshakes: m.MaxHandshakes, Connections: m.MaxConnections, PerCertificate: m.MaxConnectionsPerCertificate,
			Strangers: m.MaxConnectionsWithoutCertificate, PerAddress: m.MaxConnectionsPerAddress, Unlimited: unlimited,
		},
		Gossip: gossip.Limits{Connections: m.MaxGossipConnections, Bytes: int64(m.MaxGossipBytes), OnlyFrom: gossipers},
		Times: config.Times{
			Head: time.Duration(m.RequestHeadTimeoutInMs), Body: time.Duration(m.RequestBodyTimeoutInMs),
			Idle: time.Duration(m.IdleTimeoutInMs), IdleStranger: time.Duration(m.IdleTimeoutWithoutCertificateInMs),
			UploadRate: int64(m.MinUploadBytesPerSecond),
		},
	}
}

// masterName is NodeName, else the certificate's name, else "master": the log is opened with it, and a certificate that
// cannot be read is an error in that log.
func masterName(m settings.Master) string {
	if m.NodeName != "" {
		return m.NodeName
	}
	if name := certificateName(m.CertFile); name != "" {
		return name
	}
	return "master"
}

// certificateName is the name in a certificate file, "" when it cannot be read.
func certificateName(file string) string {
	leaf, err := pki.ReadCertificate(file)
	if err != nil {
		return ""
	}
	id, err := pki.IdentityOf(leaf)
	if err != nil {
		return ""
	}
	return id.Name
}

// sayWithoutEffect logs which settings of old files have no effect.
func sayWithoutEffect(ctx context.Context, log *slog.Logger, set *settings.Set) {
	for _, s := range set.Settings() {
		if s.Origin != "default" && strings.HasPrefix(s.Doc, "accepted for old files") {
			log.LogAttrs(ctx, slog.LevelInfo, "a setting is accepted and has no effect",
				slog.String(logkey.Setting, s.Key), slog.String(logkey.Value, s.Value))
		}
	}
}

// settingsError puts each problem on a line of its own.
func settingsError(err error) error {
	var problems settings.Problems
	if errors.As(err, &problems) && len(problems) > 1 {
		return fmt.Errorf("%d problems in the settings:\n%w", len(problems), err)
	}
	return err
}
