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
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"scaleout/store/file"
)

// devFlags are the flags that dev and demo share.
type devFlags struct {
	masters, workers, port int
	data                   string
}

func (f *devFlags) add(cmd *cobra.Command, data string) {
	flags := cmd.Flags()
	flags.IntVar(&f.masters, "masters", 3, "how many masters: 1, 3, 5, 7 or 9")
	flags.IntVar(&f.workers, "workers", 3, "how many workers")
	flags.IntVar(&f.port, "port", 8391, "HTTPS port of the first master; each master takes two ports, the second for gossip")
	flags.StringVar(&f.data, "data", data, "data directory; resumed when it exists")
}

// layout is where the flags lead: what an existing data directory says stands for flags that were not given.
func (f *devFlags) layout(cmd *cobra.Command) (layout, error) {
	l := layout{Masters: f.masters, Workers: f.workers, Port: f.port}
	var err error
	if l.dir, err = filepath.Abs(f.data); err != nil {
		return l, err
	}
	saved, err := savedLayout(l.dir)
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
			return l, usagef("--masters %d: %s holds a cluster of %d; 'scaleout cluster leave' makes one smaller", l.Masters, l.dir, saved.Masters)
		}
	}
	return l, l.check()
}

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a whole cluster on this machine: masters and workers, with real certificates", Args: cobra.NoArgs,
		Long: `Run a whole cluster on this machine: masters and workers as processes of their own, with real certificates and real disks.
Kill one by hand ('scaleout dev status' shows their pids) and see what happens; 'scaleout dev restart NAME' starts it again. Ctrl-C stops all, the workers first;
a second Ctrl-C does not wait for what runs. The data directory is resumed by the next 'scaleout dev'.`,
		Example: `  scaleout dev
  scaleout dev --masters 5 --workers 0 --port 9391 --data /tmp/five
  . ./scaleout-dev/env            # in another terminal
  scaleout cluster status`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := f.layout(cmd)
			if err != nil {
				return err
			}
			return a.dev(cmd.Context(), cmd.OutOrStdout(), l)
		},
	}
	f.add(cmd, "./scaleout-dev")
	cmd.AddCommand(a.devRestart(), a.devStatus(), a.devPID())
	return cmd
}

// dev runs the cluster until ctx ends.
func (a *app) dev(ctx context.Context, out io.Writer, l layout) error {
	s, err := a.startStage(ctx, out, l, nil)
	if err != nil {
		return err
	}
	door, err := openControl(l.control(), map[string]devVerb{"restart": s.restart, "status": s.status})
	if err != nil {
		return errors.Join(err, s.stop())
	}
	var wg sync.WaitGroup
	wg.Go(door.serve)
	s.say("%s", s.welcome(ctx))
	<-ctx.Done()
	s.say("stopping the workers, then the masters")
	err = s.stop()
	door.close()
	wg.Wait()
	return err
}

// welcome says what to type next.
func (s *stage) welcome(ctx context.Context) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s and %d %s run", s.Masters, plural(s.Masters, "master"), s.Workers, plural(s.Workers, "worker"))
	if leader, err := s.client.Leader(ctx); err == nil {
		fmt.Fprintf(&b, "; %s leads", leader.Name)
	}
	env := s.env()
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

Logs are in %s. Ctrl-C stops all.`, env, program, program, program, s.logs())
	return b.String()
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func (a *app) devRestart() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "restart NAME", Short: "Start a dead master or worker of a running dev again, or restart a living one", Args: cobra.ExactArgs(1),
		Example: "  scaleout dev restart master-2\n  scaleout dev restart worker-1 --data /tmp/five",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(data)
			if err != nil {
				return err
			}
			answer, err := askControl(cmd.Context(), layout{dir: dir}.control(), controlRequest{Verb: "restart", Name: args[0]})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), answer)
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "./scaleout-dev", "data directory of the running dev")
	return cmd
}

// startStage brings a cluster up and waits until every master is ready and every worker enabled. After an error nothing
// is left running. workerSettings are settings that every worker gets.
func (a *app) startStage(ctx context.Context, out io.Writer, l layout, workerSettings map[string]any) (_ *stage, err error) {
	if err := os.MkdirAll(l.logs(), 0o750); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(l.dir, "dev.lock"), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock of %s: %w", l.dir, err)
	}
	if !held {
		return nil, fmt.Errorf("another dev runs on %s; give this one a --data of its own", l.dir)
	}
	file.RemoveLeftovers(l.dir, 0)
	if err := l.portsFree(); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	s := &stage{layout: l, out: out, lock: lock, children: map[string]*child{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.exe, err = os.Executable(); err != nil {
		return s, err
	}
	for _, f := range []string{l.json(), l.env(), l.control()} {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return s, err
		}
	}
	if err := s.prepare(time.Now(), workerSettings); err != nil {
		return s, err
	}
	if s.client, err = s.connect(a); err != nil {
		return s, err
	}
	begun := time.Now()
	for i := range l.Masters {
		if err := s.start(l.masterName(i)); err != nil {
			return s, err
		}
	}
	for i := range l.Workers {
		if err := s.start(l.workerName(i)); err != nil {
			return s, err
		}
	}
	if err := s.ready(ctx, begun); err != nil {
		return s, err
	}
	s.mu.Lock()
	s.up = true
	s.mu.Unlock()
	return s, s.publish()
}
