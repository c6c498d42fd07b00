package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"scaleout/cluster/pki"
	"scaleout/cmd/dev"
	"scaleout/fsm/registry"
	"scaleout/httpapi/client"
)

const defaultDevFolder = "./scaleout-dev"

// devFlags are the flags that dev and demo share.
type devFlags struct {
	masters, workers, port int
	data                   string
}

func (f *devFlags) add(cmd *cobra.Command, data string) {
	flags := cmd.Flags()
	flags.IntVar(&f.masters, "masters", 3, "how many masters: 1, 3, 5, 7 or 9")
	flags.IntVar(&f.workers, "workers", 3, "how many workers")
	flags.IntVar(&f.port, "port", 8391, "HTTPS port of the first master; each master takes two ports, the second for "+
		"gossip")
	flags.StringVar(&f.data, "data", data, "data directory; resumed when it exists")
}

// layout is what the flags say; for flags that were not given, what an existing data directory says.
func (f *devFlags) layout(cmd *cobra.Command) (dev.Layout, error) {
	l := dev.Layout{Masters: f.masters, Workers: f.workers, Port: f.port}
	var err error
	if l.Dir, err = filepath.Abs(f.data); err != nil {
		return l, err
	}
	saved, err := dev.Saved(l.Dir)
	if err != nil {
		return l, err
	}
	if saved != nil {
		l.Bootstrap = saved.Bootstrap
		for _, x := range []struct {
			flag     string
			to, from *int
		}{{"masters", &l.Masters, &saved.Masters}, {"workers", &l.Workers, &saved.Workers}, {"port", &l.Port, &saved.Port}} {
			if !cmd.Flags().Changed(x.flag) {
				*x.to = *x.from
			}
		}
		if l.Masters < saved.Masters {
			return l, usagef("--masters %d: %s holds a cluster of %d; 'scaleout cluster leave' makes one smaller",
				l.Masters, l.Dir, saved.Masters)
		}
	}
	if err := l.Check(); err != nil {
		return l, usagef("--%w", err) // it begins with the flag's name
	}
	return l, nil
}

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use: "dev", Args: cobra.NoArgs,
		Short: "Run a whole cluster on this machine: masters and workers, with real certificates",
		Long: `Run a whole cluster on this machine: masters and workers as processes of their own, with real certificates and
real disks. Kill one by hand ('scaleout dev status' shows their pids) and see what happens; 'scaleout dev restart
NAME' starts it again. Ctrl-C stops all, the workers first; a second Ctrl-C does not wait for what runs. The data
directory is resumed by the next 'scaleout dev'.

A master that has left the cluster, or was removed, comes back with an empty directory: kill it, delete its folder
scaleout-dev/NAME/data, and restart it.`,
		Example: `  scaleout dev
  scaleout dev --masters 5 --workers 0 --port 9391 --data /tmp/five
  . ./scaleout-dev/env            # in another terminal
  scaleout cluster status`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := f.layout(cmd)
			if err != nil {
				return err
			}
			return devError(a.dev(cmd.Context(), cmd.OutOrStdout(), l))
		},
	}
	f.add(cmd, defaultDevFolder)
	cmd.AddCommand(a.devRestart(), a.devStatus(), a.devPID())
	return cmd
}

// dev runs the cluster until ctx ends.
func (a *app) dev(ctx context.Context, out io.Writer, l dev.Layout) error {
	cfg := a.devConfig(out, l)
	cluster, err := dev.Start(ctx, cfg)
	if err != nil {
		return err
	}
	cfg.Say(welcome(ctx, cluster))
	<-ctx.Done()
	cfg.Say("stopping the workers, then the masters")
	return cluster.Stop()
}

// devConfig is the same for dev and demo.
func (a *app) devConfig(out io.Writer, l dev.Layout) dev.Config {
	var mu sync.Mutex
	return dev.Config{
		Layout: l,
		Say: func(text string) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(out, text)
		},
		Connect: func(files pki.Files, masters []string) (*client.Client, error) {
			creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: files, Logger: a.logger()})
			if err != nil {
				return nil, err
			}
			own := *a
			own.notices, own.connectTimeout = nil, max(a.connectTimeout, devConnectTimeout)
			return own.clientWith(creds, masters)
		},
	}
}

// devError adds the flag that helps.
func devError(err error) error {
	var taken *dev.PortsError
	if !errors.As(err, &taken) {
		return err
	}
	advice := "--port takes the first of another row"
	if taken.Free > 0 {
		advice = fmt.Sprintf("%s; --port %d begins one that is free", advice, taken.Free)
	}
	return fmt.Errorf("%w\n%s", err, advice)
}

// welcome says what to type next.
func welcome(ctx context.Context, c *dev.Cluster) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s and %d %s run", c.Masters, plural(c.Masters, "master"), c.Workers, plural(c.Workers, "worker"))
	if leader, err := c.Client().Leader(ctx); err == nil {
		fmt.Fprintf(&b, "; %s leads", leader.Name)
	}
	env := c.Env()
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, env); err == nil && !strings.HasPrefix(rel, "..") {
			env = "." + string(filepath.Separator) + rel
		}
	}
	program := os.Args[0]
	fmt.Fprintf(&b, `. In another terminal:

  . %s
  %s cluster status
  %s project deploy FILE.ispac --folder ETL --create-folder
  %s execution run ETL/PROJECT/PACKAGE --wait

Logs are in %s. Ctrl-C stops all.`, env, program, program, program, c.Logs())
	return b.String()
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// runningDev adds the flag that names the data directory of a running dev.
func runningDev(cmd *cobra.Command, data *string) *cobra.Command {
	cmd.Flags().StringVar(data, "data", defaultDevFolder, "data directory of the running dev")
	return cmd
}

func (a *app) devRestart() *cobra.Command {
	var data string
	return runningDev(&cobra.Command{
		Use: "restart NAME", Args: cobra.ExactArgs(1),
		Short:   "Start a dead master or worker of a running dev again, or restart a living one",
		Example: "  scaleout dev restart master-2\n  scaleout dev restart worker-1 --data /tmp/five",
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := dev.Restart(cmd.Context(), data, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), answer)
			return nil
		},
	}, &data)
}

func (a *app) devStatus() *cobra.Command {
	var data string
	return runningDev(&cobra.Command{
		Use: "status", Short: "List the processes of a running dev with their pids", Args: cobra.NoArgs,
		Example: "  scaleout dev status\n  scaleout dev status --data /tmp/five -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := dev.Status(cmd.Context(), data)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return printJSON(cmd, list)
			}
			var body [][]any
			for _, p := range list {
				body = append(body, []any{p.Name, p.PID, p.State, p.Address})
			}
			a.table(cmd, heads("Name", "Pid", "State", "Address"), body)
			return nil
		},
	}, &data)
}

func (a *app) devPID() *cobra.Command {
	var data string
	return runningDev(&cobra.Command{
		Use: "pid NAME", Short: "Print the pid of a master or worker of a running dev", Args: cobra.ExactArgs(1),
		Example: "  kill -9 \"$(scaleout dev pid master-2)\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := dev.Status(cmd.Context(), data)
			if err != nil {
				return err
			}
			var names []string
			for _, p := range list {
				names = append(names, p.Name)
				switch {
				case p.Name != args[0]:
				case p.State != dev.StateRunning:
					return fmt.Errorf("%s (pid %d) has ended; 'scaleout dev restart %s' starts it again", p.Name, p.PID, p.Name)
				case a.output == "json":
					return printJSON(cmd, p)
				default:
					fmt.Fprintln(cmd.OutOrStdout(), p.PID)
					return nil
				}
			}
			return fmt.Errorf("there is no %q here%s", args[0], registry.Hint(args[0], names))
		},
	}, &data)
}
