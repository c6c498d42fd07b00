package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/command"
	"scaleout/httpapi/client"
	"scaleout/store"
)

// app is what all verbs share: where the masters are, who the caller is and how to print.
type app struct {
	addr, cacert, cert, key string
	output                  string
	utc, absolute           bool
	verbose                 bool

	connectTimeout time.Duration
	notices        *notices

	errors io.Writer                      // standard error
	dial   func() (*client.Client, error) // in tests: what client returns
}

// outputs are the values of --output.
var outputs = []string{"table", "wide", "json"}

func newRoot() *cobra.Command { return (&app{}).root() }

// root makes the tree of all verbs. Whatever they print goes through the two writers that are set here.
func (a *app) root() *cobra.Command {
	a.notices = &notices{}
	root := &cobra.Command{
		Use:           "scaleout",
		Short:         "A highly available SSIS Scale Out Master, its workers, and the command line for both",
		SilenceUsage:  true,
		SilenceErrors: true,
		Example: `  scaleout dev                                   three masters and three workers on this machine
  scaleout project deploy Sales.ispac --folder ETL --create-folder
  scaleout execution run ETL/Sales/Load.dtsx --param Day=2026-01-31 --wait
  scaleout execution why 17`,
	}
	root.SetOut(show.File(os.Stdout))
	root.SetErr(show.File(os.Stderr))
	env := func(name, fallback string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return fallback
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.addr, "addr", env("SCALEOUT_ADDR", "https://localhost:8391"),
		"masters, comma-separated; all are tried (SCALEOUT_ADDR)")
	flags.StringVar(&a.cacert, "cacert", env("SCALEOUT_CACERT", ""), "ca.pem of the cluster (SCALEOUT_CACERT)")
	flags.StringVar(&a.cert, "cert", env("SCALEOUT_CERT", ""), "your certificate (SCALEOUT_CERT)")
	flags.StringVar(&a.key, "key", env("SCALEOUT_KEY", ""), "your private key (SCALEOUT_KEY)")
	timeout, wrong := connectTimeout(os.Getenv("SCALEOUT_CONNECT_TIMEOUT"))
	flags.DurationVar(&a.connectTimeout, "connect-timeout", timeout,
		"how long to try when no master answers or none leads (SCALEOUT_CONNECT_TIMEOUT)")
	flags.StringVarP(&a.output, "output", "o", "table", "table, wide (every column) or json")
	flags.BoolVar(&a.utc, "utc", false, "times in UTC")
	flags.BoolVar(&a.absolute, "absolute", false, "times of day by this machine's clock, in place of '3 min ago'")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say what is tried")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		a.errors = cmd.ErrOrStderr()
		a.notices.to(func(text string) { sayf(cmd.ErrOrStderr(), "scaleout: %s", text) })
		if wrong != nil && !cmd.Flags().Changed("connect-timeout") {
			return wrong
		}
		if a.connectTimeout < leastConnectTimeout {
			return usagef("--connect-timeout %v: want %v or more", a.connectTimeout, leastConnectTimeout)
		}
		if !slices.Contains(outputs, a.output) {
			return usagef("--output %q: want %s", a.output, strings.Join(outputs, ", "))
		}
		return nil
	}
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.Args = func(root *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownVerb(root, args[0]) // cobra's own check ends in an error that cannot be told from others
	}
	root.Version = fmt.Sprintf("%s (commit %s, %s, %s/%s)", version, commit, runtime.Version(), runtime.GOOS,
		runtime.GOARCH)
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.DisableFlagsInUseLine = true
	root.AddCommand(
		a.folderCommand(), a.projectCommand(), a.executionCommand(), a.catalogCommand(), a.clusterCommand(),
		a.eventsCommand(),
		a.workerCommand(), a.masterCommand(), a.caCommand(), a.configCommand(), a.versionCommand(),
		a.devCommand(), a.demoCommand(), a.doctorCommand(), a.readyCommand(), serviceCommand(), manCommand(),
	)
	exactArgs(root)
	a.completeFlags(root)
	return root
}

// exactArgs makes every mistake in the number of arguments a usage error.
func exactArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var usage *usageError
			if err == nil || errors.As(err, &usage) {
				return err
			}
			return wrongArguments(c, args)
		}
	}
	if cmd.HasSubCommands() && cmd.RunE == nil && cmd.HasParent() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(c, args[0])
			}
			return c.Help()
		}
	}
	for _, sub := range cmd.Commands() {
		exactArgs(sub)
	}
}

// logger writes to stderr: warnings, or everything with --verbose.
func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	if a.errors == nil { // completion calls masters before any verb runs, and must print nothing
		return slog.New(slog.DiscardHandler)
	}
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.errors, &slog.HandlerOptions{Level: level}))
}

func splitList(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version, the feature level and the data format", Args: cobra.NoArgs,
		Example: "  scaleout version\n  scaleout version -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.object(cmd, []pair{
				{"version", version}, {"commit", commit}, {"go", runtime.Version()},
				{"os_arch", runtime.GOOS + "/" + runtime.GOARCH},
				{"feature_level", command.Level}, {"data_format", store.Format},
			})
		},
	}
}
