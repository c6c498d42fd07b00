package service

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	kardianos "github.com/kardianos/service"

	"scaleout/cmd/scaleout/settings"
)

// Kinds of services.
const (
	Master = "master"
	Worker = "worker"
)

// Where the units of deploy/systemd expect things.
const (
	defaultExecutable   = "/usr/local/bin/scaleout"
	defaultMasterConfig = "/etc/scaleout/MasterSettings.config"
	defaultWorkerConfig = "/etc/scaleout/WorkerSettings.config"
	defaultUser         = "scaleout"
)

// Service is one service as the system shall know it.
type Service struct {
	Kind       string // Master or Worker
	Config     string // settings file
	User       string // account; "": the system's default
	Password   string // of the account, on Windows
	Executable string
}

// Complete fills in what is not given, from this process and system.
func (s *Service) Complete() error {
	if s.Config == "" {
		s.Config = defaultMasterConfig
		if s.Kind == Worker {
			s.Config = defaultWorkerConfig
		}
	}
	if s.Executable == "" {
		own, err := os.Executable()
		if err != nil {
			return err
		}
		s.Executable = own
	}
	if s.User == "" && runtime.GOOS != "windows" {
		s.User = defaultUser
	}
	var err error
	s.Config, err = filepath.Abs(s.Config)
	return err
}

// Check refuses settings with which the service could not start. Problems of the file are a [settings.Problems].
func (s *Service) Check() error {
	var m settings.Master
	var w settings.Worker
	set := settings.NewMaster(&m)
	if s.Kind == Worker {
		set = settings.NewWorker(&w)
	}
	// The service does not have this shell's environment.
	if err := set.Load(s.Config, func(string) (string, bool) { return "", false }); err != nil {
		return err
	}
	data := m.DataDirectory + w.DataDirectory
	if !filepath.IsAbs(data) {
		return fmt.Errorf("%s: DataDirectory %q is relative: a service has another working directory", s.Config, data)
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	return s.accountReads()
}

// hiddenFolders are what the master's unit hides from it.
var hiddenFolders = []string{"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"}

// accountReads has the service's account run the program and read the settings and the files that they name.
func (s *Service) accountReads() error {
	for _, path := range []string{s.Executable, s.Config} {
		for _, hidden := range hiddenFolders {
			if s.Kind == Master && strings.HasPrefix(path, hidden) {
				return fmt.Errorf("the service does not see %s: put programs into /usr/local/bin, settings into /etc/scaleout",
					path)
			}
		}
	}
	if os.Geteuid() != 0 {
		return nil // only root can act as another account, and the installation itself says that it needs root
	}
	if out, err := exec.Command("id", "-u", s.User).CombinedOutput(); err != nil {
		return fmt.Errorf("the service's account: %s; deploy/systemd/scaleout.sysusers.conf makes the account scaleout, "+
			"--user names another", strings.TrimSpace(string(out)))
	}
	cmd := exec.Command("runuser", "-u", s.User, "--", s.Executable, "config", "check", "--kind", s.Kind, s.Config)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// 'config check' only warns of a certificate or key that cannot be read; a service cannot start without it.
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		return fmt.Errorf("the account %s cannot use %s with %s: %s",
			s.User, s.Executable, s.Config, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// arguments are those of the service's process.
func (s *Service) arguments() []string {
	args := []string{s.Kind, "start", "--config", s.Config}
	if s.Kind == Worker {
		// A service manager does not wait for hours; longer packages go on under their guards.
		args = append(args, "--leave-after", "5s")
	}
	return args
}

// String is the name that the system shows.
func (s *Service) String() string {
	if s.Kind == Worker {
		return "Scale Out Worker"
	}
	return "Scale Out Master"
}

// ErrInstalled says that the service is installed already.
var ErrInstalled = errors.New("the service is installed already")

// Install installs the service and has it start with the machine.
func (s *Service) Install() error {
	return s.manage(func(m kardianos.Service) error {
		if _, err := m.Status(); err == nil {
			return ErrInstalled
		}
		return m.Install()
	})
}

// Uninstall stops the service and removes it. It stops it first: without a unit, a running service has no name to stop
// it by.
func (s *Service) Uninstall() error {
	return s.manage(func(m kardianos.Service) error {
		switch status, err := m.Status(); {
		case errors.Is(err, kardianos.ErrNotInstalled):
			return err
		case status == kardianos.StatusRunning:
			if err := m.Stop(); err != nil {
				return err
			}
		}
		return m.Uninstall()
	})
}

// Start starts the service.
func (s *Service) Start() error { return s.manage(kardianos.Service.Start) }

// Stop stops the service.
func (s *Service) Stop() error { return s.manage(kardianos.Service.Stop) }

// Running reports whether the service runs.
func (s *Service) Running() (running bool, err error) {
	err = s.manage(func(m kardianos.Service) error {
		status, err := m.Status()
		running = status == kardianos.StatusRunning
		return err
	})
	return running, err
}

// manage makes the system's service manager do something, and says in words what its error means.
func (s *Service) manage(act func(kardianos.Service) error) error {
	text := "Takes requests to execute packages and hands them to Scale Out Workers."
	if s.Kind == Worker {
		text = "Runs packages for Scale Out Masters."
	}
	manager, err := kardianos.New(idle{}, &kardianos.Config{
		Name: "scaleout-" + s.Kind, DisplayName: s.String(), Description: text,
		UserName: s.User, Executable: s.Executable, Arguments: s.arguments(),
		Option: kardianos.KeyValue{
			"SystemdScript": s.Unit(),
			"Password":      s.Password,
			// Windows: again two seconds after a failure, and count failures anew each day.
			"OnFailure": "restart", "OnFailureDelayDuration": "2s", "OnFailureResetPeriod": 86400,
			"DelayedAutoStart": false,
		},
	})
	if err == nil {
		err = act(manager)
	}
	switch {
	case errors.Is(err, kardianos.ErrNotInstalled):
		return errors.New("the service is not installed")
	case errors.Is(err, kardianos.ErrNoServiceSystemDetected):
		return errors.New("there is no service manager here that this program knows")
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: an administrator's rights are needed", err)
	}
	return err
}

// idle is the part of a service that its installation does not need.
type idle struct{}

func (idle) Start(kardianos.Service) error { return nil }
func (idle) Stop(kardianos.Service) error  { return nil }
