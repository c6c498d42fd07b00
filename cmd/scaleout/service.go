package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/service"
)

var serviceKinds = []string{service.Master, service.Worker}

func serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "service", Short: "A master or worker as a service of this machine (systemd, Windows)",
		Long: `Install a master or a worker as a service of this machine: a systemd unit on Linux, a Windows service on
Windows. The service is called scaleout-master or scaleout-worker.`,
	}
	cmd.AddCommand(serviceInstall())
	for _, v := range []struct {
		verb, short, done string
		act               func(*service.Service) error
	}{
		{"uninstall", "Stop the service and remove it; its data stays", "removed", (*service.Service).Uninstall},
		{"start", "Start the service", "started", (*service.Service).Start},
		{"stop", "Stop the service", "stopped", (*service.Service).Stop},
	} {
		cmd.AddCommand(serviceVerb(v.verb, v.short, func(cmd *cobra.Command, s *service.Service) error {
			if err := v.act(s); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", s, v.done)
			return nil
		}))
	}
	cmd.AddCommand(serviceVerb("status", "Exit 0 when the service runs, else 1",
		func(cmd *cobra.Command, s *service.Service) error {
			switch running, err := s.Running(); {
			case err != nil:
				return err
			case !running:
				return fmt.Errorf("%s is stopped", s)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s runs\n", s)
			return nil
		}))
	return cmd
}

func serviceVerb(verb, short string, act func(*cobra.Command, *service.Service) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " master|worker", Short: short, Args: cobra.ExactArgs(1), ValidArgs: serviceKinds,
		Example: "  scaleout service " + verb + " master",
		RunE: func(cmd *cobra.Command, args []string) error {
			s := &service.Service{}
			if err := completeService(s, args[0]); err != nil {
				return err
			}
			return act(cmd, s)
		},
	}
}

// completeService fills in what was not given.
func completeService(s *service.Service, kind string) error {
	if !slices.Contains(serviceKinds, kind) {
		return usagef("%q is no kind of service: want %s", kind, strings.Join(serviceKinds, " or "))
	}
	s.Kind = kind
	return s.Complete()
}

func serviceInstall() *cobra.Command {
	var s service.Service
	var show bool
	var passwordFile string
	cmd := &cobra.Command{
		Use: "install master|worker --config FILE", Args: cobra.ExactArgs(1), ValidArgs: serviceKinds,
		Short: "Install the service and have it start with the machine",
		Long: `Install a service that runs this program with a settings file, which is checked first,
also for whether the service's account can read it and what it names. The service starts with the machine;
'scaleout service start' starts it now. With --print the systemd unit is printed and nothing is installed.`,
		Example: `  scaleout service install master --config /etc/scaleout/MasterSettings.config
  scaleout service install worker --config C:\ScaleOut\WorkerSettings.config --user .\etl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if s.Password, err = readPassword(cmd.InOrStdin(), passwordFile); err != nil {
				return err
			}
			if err := completeService(&s, args[0]); err != nil {
				return err
			}
			if show {
				fmt.Fprint(cmd.OutOrStdout(), s.Unit())
				return nil
			}
			if err := s.Check(); err != nil {
				return settingsError(err)
			}
			err = s.Install()
			if errors.Is(err, service.ErrInstalled) {
				return fmt.Errorf("%s is installed already; 'scaleout service uninstall %s' removes it and keeps its data", &s,
					s.Kind)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s installed; 'scaleout service start %s' starts it\n", &s, s.Kind)
			return nil
		},
	}
	cmd.Flags().StringVar(&s.Config, "config", "", "settings file")
	cmd.Flags().StringVar(&s.User, "user", "", "account of the service; default: scaleout, on Windows LocalSystem")
	cmd.Flags().StringVar(&passwordFile, "password-file", "",
		"file with the password of the account, on Windows; - for standard input")
	cmd.Flags().BoolVar(&show, "print", false, "print the systemd unit and install nothing")
	return cmd
}

// level is how much the log of a master or worker says.
func (a *app) level() slog.Level {
	if a.verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// exitAfter ends the process when an orderly end takes too long.
func exitAfter(d time.Duration, code int) { time.AfterFunc(d, func() { os.Exit(code) }) }
