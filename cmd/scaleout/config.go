package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"scaleout/cluster/pki"
	"scaleout/cmd/scaleout/settings"
	"scaleout/cmd/scaleout/show"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Settings files"}
	cmd.AddCommand(a.configCheck())
	return cmd
}

func (a *app) configCheck() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Explain every problem of a settings file, or print what is in effect",
		Args: cobra.ExactArgs(1),
		Long: `Explain every problem of a settings file with its line, or print every setting with its value and where that
comes from: the file, the environment or the default. Certificate files that are named and cannot be used here are
warned about.`,
		Example: `  scaleout config check MasterSettings.config
  scaleout config check /etc/scaleout/w1.json --kind worker -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			if kind == "" {
				kind = settingsKind(args[0], raw)
			}
			var m settings.Master
			var w settings.Worker
			var set *settings.Set
			switch kind {
			case "master":
				set = settings.NewMaster(&m)
			case "worker":
				set = settings.NewWorker(&w)
			default:
				return usagef("--kind %q: want master or worker", kind)
			}
			err = set.Load(args[0], os.LookupEnv)
			var problems settings.Problems
			if err != nil && !errors.As(err, &problems) {
				return err
			}
			var warnings []settings.Problem
			if err == nil {
				if kind == "master" {
					warnings = masterFiles(set, m)
				} else {
					warnings = workerFiles(set, w)
				}
			}
			if a.output == "json" {
				if err := printJSON(cmd, configReport(kind, set, problems, warnings)); err != nil {
					return err
				}
			} else {
				for _, p := range problems {
					sayf(cmd.OutOrStdout(), "%s", p)
				}
				if len(problems) == 0 {
					a.effective(cmd, set)
				}
				for _, p := range warnings {
					sayf(cmd.ErrOrStderr(), "warning: %s", p)
				}
			}
			switch n := len(problems); {
			case n == 1:
				return fmt.Errorf("%s: 1 problem as %s settings", args[0], kind)
			case n > 1:
				return fmt.Errorf("%s: %d problems as %s settings", args[0], n, kind)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "master or worker; default: by the file's name, else by its keys")
	return cmd
}

// settingsKind reports whether a file holds the settings of a master or of a worker: by its name, else by which of the
// two finds fewer problems in it.
func settingsKind(path string, raw []byte) string {
	base := strings.ToLower(filepath.Base(path))
	switch isMaster, isWorker := strings.Contains(base, "master"), strings.Contains(base, "worker"); {
	case isMaster && !isWorker:
		return "master"
	case isWorker && !isMaster:
		return "worker"
	}
	var m settings.Master
	var w settings.Worker
	if len(settings.NewWorker(&w).Parse(path, raw)) < len(settings.NewMaster(&m).Parse(path, raw)) {
		return "worker"
	}
	return "master"
}

func (a *app) effective(cmd *cobra.Command, set *settings.Set) {
	var body [][]any
	for _, s := range set.Settings() {
		body = append(body, []any{s.Key, shorten(s.Value, 60), s.Origin})
	}
	a.table(cmd, []show.Column{{Head: "Setting"}, {Head: "Value", Wrap: true}, {Head: "From"}}, body)
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

type settingReport struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

type problemReport struct {
	Where string `json:"where"`
	Text  string `json:"text"`
}

func configReport(kind string, set *settings.Set, problems, warnings []settings.Problem) any {
	report := struct {
		Kind     string          `json:"kind"`
		Problems []problemReport `json:"problems"`
		Warnings []problemReport `json:"warnings"`
		Settings []settingReport `json:"settings"`
	}{kind, []problemReport{}, []problemReport{}, []settingReport{}}
	for _, p := range problems {
		report.Problems = append(report.Problems, problemReport(p))
	}
	for _, p := range warnings {
		report.Warnings = append(report.Warnings, problemReport(p))
	}
	for _, s := range set.Settings() {
		report.Settings = append(report.Settings, settingReport{s.Key, s.Value, s.Origin})
	}
	return report
}

// masterFiles tries the files that the settings name, as a start would. The file may be checked on another machine than
// it is meant for, so what fails is a warning.
func masterFiles(set *settings.Set, m settings.Master) []settings.Problem {
	out := credentialProblem(set, "CertFile", pki.CredentialsConfig{
		Files: pki.Files{CA: m.CACertFile, Cert: m.CertFile, Key: m.KeyFile}, Thumbprint: m.SSLCertThumbprint,
	}, pki.RoleMaster)
	if _, err := pki.LoadGossipKey(m.GossipKeyFile); err != nil {
		out = append(out, set.Problem("GossipKeyFile", "%v", err))
	}
	if m.KeyRingFile != "" {
		if _, err := pki.LoadKeyRing(m.KeyRingFile); err != nil {
			out = append(out, set.Problem("KeyRingFile", "%v", err))
		}
	}
	return out
}

func workerFiles(set *settings.Set, w settings.Worker) []settings.Problem {
	return credentialProblem(set, "CertFile", workerCredentials(w), pki.RoleWorker)
}

func credentialProblem(set *settings.Set, key string, cfg pki.CredentialsConfig, role pki.Role) []settings.Problem {
	creds, err := pki.OpenCredentials(cfg)
	if err != nil {
		return []settings.Problem{set.Problem(key, "%v", err)}
	}
	if err := creds.Identity().Require(role); err != nil {
		return []settings.Problem{set.Problem(key, "%v", err)}
	}
	return nil
}
