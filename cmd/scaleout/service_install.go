package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/settings"
)

//go:embed unit/scaleout-master.service
var masterUnit string

//go:embed unit/scaleout-worker.service
var workerUnit string

// Where the units of deploy/systemd expect things.
const (
	defaultExecutable   = "/usr/local/bin/scaleout"
	defaultMasterConfig = "/etc/scaleout/MasterSettings.config"
	defaultWorkerConfig = "/etc/scaleout/WorkerSettings.config"
	defaultUser         = "scaleout"
)

// plan is one service as it is to be known to the system.
type plan struct {
	kind       string // "master" or "worker"
	config     string // settings file
	user       string // account; "": the system's default
	password   string // of the account, on Windows
	executable string
}

func serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "service", Short: "A master or worker as a service of this machine (systemd, Windows)",
		Long: `Install a master or a worker as a service of this machine: a systemd unit on Linux, a Windows service on Windows. The
service is called scaleout-master or scaleout-worker.`,
	}
	cmd.AddCommand(serviceInstall())
	for _, v := range []struct {
		verb, short, done string
		act               func(service.Service) error
	}{
		{"uninstall", "Stop the service and remove it; its data stays", "removed", uninstall},
		{"start", "Start the service", "started", service.Service.Start},
		{"stop", "Stop the service", "stopped", service.Service.Stop},
	} {
		cmd.AddCommand(serviceVerb(v.verb+" master|worker", v.short, func(cmd *cobra.Command, s service.Service) error {
			if err := v.act(s); err != nil {
				return serviceError(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", s, v.done)
			return nil
		}))
	}
	cmd.AddCommand(serviceVerb("status master|worker", "Exit 0 when the service runs, else 1", func(cmd *cobra.Command, s service.Service) error {
		status, err := s.Status()
		switch {
		case err != nil:
			return serviceError(err)
		case status != service.StatusRunning:
			return fmt.Errorf("%s is stopped", s)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s runs\n", s)
		return nil
	}))
	return cmd
}

// uninstall stops the service first: what ran on without a unit nobody could stop by its name.
func uninstall(s service.Service) error {
	switch status, err := s.Status(); {
	case errors.Is(err, service.ErrNotInstalled):
		return err
	case status == service.StatusRunning:
		if err := s.Stop(); err != nil {
			return err
		}
	}
	return s.Uninstall()
}

func serviceVerb(use, short string, act func(*cobra.Command, service.Service) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), ValidArgs: []string{"master", "worker"},
		Example: "  scaleout service " + strings.Replace(use, "master|worker", "master", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := plan{kind: args[0]}
			if err := p.fill(); err != nil {
				return err
			}
			s, err := p.service()
			if err != nil {
				return err
			}
			return act(cmd, s)
		},
	}
}

func serviceInstall() *cobra.Command {
	var p plan
	var show bool
	var password string // the file
	cmd := &cobra.Command{
		Use: "install master|worker --config FILE", Short: "Install the service and have it start with the machine", Args: cobra.ExactArgs(1),
		ValidArgs: []string{"master", "worker"},
		Long: `Install a service that runs this program with a settings file, which is checked first,
also for whether the service's account can read it and what it names. The service starts with the machine;
'scaleout service start' starts it now. With --print the systemd unit is printed and nothing is installed.`,
		Example: `  scaleout service install master --config /etc/scaleout/MasterSettings.config
  scaleout service install worker --config C:\ScaleOut\WorkerSettings.config --user .\etl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p.kind = args[0]
			var err error
			if p.password, err = readPassword(cmd.InOrStdin(), password); err != nil {
				return err
			}
			if err := p.fill(); err != nil {
				return err
			}
			if show {
				fmt.Fprint(cmd.OutOrStdout(), p.unit())
				return nil
			}
			if err := p.check(); err != nil {
				return err
			}
			s, err := p.service()
			if err != nil {
				return err
			}
			if _, err := s.Status(); err == nil {
				return fmt.Errorf("%s is installed already; 'scaleout service uninstall %s' removes it and keeps its data", s, p.kind)
			}
			if err := s.Install(); err != nil {
				return serviceError(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s installed; 'scaleout service start %s' starts it\n", s, p.kind)
			return nil
		},
	}
	cmd.Flags().StringVar(&p.config, "config", "", "settings file")
	cmd.Flags().StringVar(&p.user, "user", "", "account of the service; default: scaleout, on Windows LocalSystem")
	cmd.Flags().StringVar(&password, "password-file", "", "file with the password of the account, on Windows; - for standard input")
	cmd.Flags().BoolVar(&show, "print", false, "print the systemd unit and install nothing")
	return cmd
}

// fill completes the plan with what follows from this process and system.
func (p *plan) fill() error {
	switch p.kind {
	case "master", "worker":
	default:
		return usagef("%q is no kind of service: want master or worker", p.kind)
	}
	if p.config == "" {
		p.config = defaultMasterConfig
		if p.kind == "worker" {
			p.config = defaultWorkerConfig
		}
	}
	if p.executable == "" {
		own, err := os.Executable()
		if err != nil {
			return err
		}
		p.executable = own
	}
	if p.user == "" && runtime.GOOS != "windows" {
		p.user = defaultUser
	}
	var err error
	p.config, err = filepath.Abs(p.config)
	return err
}

// check refuses settings with which the service could not start.
func (p *plan) check() error {
	var m settings.Master
	var w settings.Worker
	set := settings.NewMaster(&m)
	if p.kind == "worker" {
		set = settings.NewWorker(&w)
	}
	// The service does not have this shell's environment.
	if err := set.Load(p.config, func(string) (string, bool) { return "", false }); err != nil {
		return settingsError(err)
	}
	data := m.DataDirectory + w.DataDirectory
	if !filepath.IsAbs(data) {
		return fmt.Errorf("%s: DataDirectory %q is relative: a service has another working directory", p.config, data)
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	return p.reaches()
}

// unseen is what the master's unit hides from it.
var unseen = []string{"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"}

// reaches has the service's account run the program and read the settings and the files that they name.
func (p *plan) reaches() error {
	for _, path := range []string{p.executable, p.config} {
		for _, hidden := range unseen {
			if p.kind == "master" && strings.HasPrefix(path, hidden) {
				return fmt.Errorf("the service does not see %s: programs belong into /usr/local/bin, settings into /etc/scaleout", path)
			}
		}
	}
	if os.Geteuid() != 0 {
		// Only root may be another account, and only root can install: that says so itself.
		return nil
	}
	if out, err := exec.Command("id", "-u", p.user).CombinedOutput(); err != nil {
		return fmt.Errorf("the service's account: %s; deploy/systemd/scaleout.sysusers.conf makes the account scaleout, --user names another",
			strings.TrimSpace(string(out)))
	}
	cmd := exec.Command("runuser", "-u", p.user, "--", p.executable, "config", "check", "--kind", p.kind, p.config)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// A certificate or key that cannot be read is a warning to somebody else's eyes; here it is the end.
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		return fmt.Errorf("the account %s cannot use %s with %s: %s", p.user, p.executable, p.config, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// arguments are those of the service's process.
func (p *plan) arguments() []string {
	args := []string{p.kind, "start", "--config", p.config}
	if p.kind == "worker" {
		// A service manager has no patience for packages that take hours; they go on under their guards.
		args = append(args, "--leave-after", "5s")
	}
	return args
}

// unit is the systemd unit.
func (p *plan) unit() string {
	text := masterUnit
	if p.kind == "worker" {
		text = workerUnit
	}
	return strings.NewReplacer("@EXECUTABLE@", unitWord(p.executable), "@CONFIG@", unitWord(p.config), "@USER@", p.user).Replace(text)
}

// unitWord writes one word of a unit's command line: % begins a specifier, $ a variable, and a blank ends a word.
func unitWord(s string) string {
	s = strings.NewReplacer("%", "%%", "$", "$$", `\`, `\\`, `"`, `\"`).Replace(s)
	if strings.ContainsAny(s, " \t'\"\\;") {
		return `"` + s + `"`
	}
	return s
}

func (p *plan) service() (service.Service, error) {
	name := "scaleout-" + p.kind
	title, text := "Scale Out Master", "Takes requests to execute packages and hands them to Scale Out Workers."
	if p.kind == "worker" {
		title, text = "Scale Out Worker", "Runs packages for Scale Out Masters."
	}
	return service.New(idle{}, &service.Config{
		Name: name, DisplayName: title, Description: text, UserName: p.user, Executable: p.executable, Arguments: p.arguments(),
		Option: service.KeyValue{
			"SystemdScript": p.unit(),
			"Password":      p.password,
			// Windows: again two seconds after a failure, and count failures anew each day.
			"OnFailure": "restart", "OnFailureDelayDuration": "2s", "OnFailureResetPeriod": 86400,
			"DelayedAutoStart": false,
		},
	})
}

// idle is the part of a service that its installation has no use for.
type idle struct{}

func (idle) Start(service.Service) error { return nil }
func (idle) Stop(service.Service) error  { return nil }

// serviceError says in words what a service manager's error means.
func serviceError(err error) error {
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		return errors.New("the service is not installed")
	case errors.Is(err, service.ErrNoServiceSystemDetected):
		return errors.New("there is no service manager here that this program knows")
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: an administrator's rights are needed", err)
	}
	return err
}
