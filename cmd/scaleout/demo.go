package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"scaleout/httpapi/client"
)

//go:embed sample
var sampleFiles embed.FS

const (
	demoFolder  = "Demo"
	demoPackage = "daily.sh"
	// demoTime bounds the demo from the first execution to the last result.
	demoTime = 3 * time.Minute
)

func (a *app) demoCommand() *cobra.Command {
	var f devFlags
	var count int
	cmd := &cobra.Command{
		Use: "demo", Short: "See it work: a cluster, 200 executions, a killed leader, nothing lost and nothing run twice", Args: cobra.NoArgs,
		Long: `Start masters and workers on this machine, deploy a sample project (extract, transform, load in shell), start 200
executions and kill the leader with SIGKILL when a third are done. The end is a table, with the check that each execution
succeeded and ran exactly once: each package appends its execution's id to a file, and the demo counts.

It exits with 0 only if so.`,
		Example: "  scaleout demo\n  scaleout demo --port 9391 --executions 1000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 1 || count > 100_000 {
				return usagef("--executions %d: want 1 to 100000", count)
			}
			if _, err := exec.LookPath("sh"); err != nil {
				return fmt.Errorf("the sample project is written for the shell, and there is no sh here: %w", err)
			}
			keep := f.data != ""
			if !keep {
				dir, err := os.MkdirTemp("", "scaleout-demo-")
				if err != nil {
					return err
				}
				f.data = dir
			}
			l, err := f.layout(cmd)
			if err != nil {
				return err
			}
			if l.Workers == 0 {
				return usagef("--workers 0: somebody must run the packages")
			}
			err = a.demo(cmd.Context(), cmd.OutOrStdout(), l, count)
			switch {
			case keep:
			case err == nil || cmd.Context().Err() != nil || errors.Is(err, errPortsTaken): // shown, broken off by whoever watched, or not begun
				err = errors.Join(err, os.RemoveAll(l.dir))
			default:
				fmt.Fprintf(cmd.ErrOrStderr(), "What was left is in %s.\n", l.dir)
			}
			return err
		},
	}
	f.add(cmd, "")
	cmd.Flags().Lookup("data").Usage = "data directory, which is kept; default: a temporary one"
	cmd.Flags().IntVar(&count, "executions", 200, "how many executions")
	return cmd
}

func (a *app) demo(ctx context.Context, out io.Writer, l layout, count int) (err error) {
	begun := time.Now()
	fmt.Fprintf(out, "starting %d %s and %d %s in %s\n", l.Masters, plural(l.Masters, "master"), l.Workers, plural(l.Workers, "worker"), l.dir)
	// Few at once: the machine is shared by all of them.
	s, err := a.startStage(ctx, out, l, map[string]any{"MaxTaskCount": 4})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	d := &demo{stage: s, count: count, files: filepath.Join(l.dir, "output")}
	if err := os.MkdirAll(d.files, 0o755); err != nil {
		return err
	}
	// A resumed directory holds the results of an earlier demo.
	if err := os.Remove(d.ran()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if d.project, err = d.deploy(ctx); err != nil {
		return friendly(err)
	}
	fmt.Fprintf(out, "ready after %v; %s is deployed to folder %s\n", rounded(time.Since(begun)), d.project, demoFolder)
	if d.probe, err = s.connect(a); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, demoTime, fmt.Errorf("not all executions ended within %v", demoTime))
	defer cancel()
	if err := d.run(ctx); err != nil {
		return friendly(err)
	}
	r, err := d.result(ctx)
	if err != nil {
		return friendly(err)
	}
	r.print(a, out, time.Since(begun))
	return r.verdict()
}

// demo is one run of the demonstration.
type demo struct {
	*stage
	count   int
	files   string // folder that the packages write to
	project string
	probe   *client.Client // for the one who looks whether a leader answers

	after int64 // the highest execution id of before
	ids   []int64
	gaps  gaps
	kill  killed
}

func (d *demo) ran() string { return filepath.Join(d.files, "ran.txt") }

// deploy packs the sample and deploys it.
func (d *demo) deploy(ctx context.Context) (string, error) {
	dir, err := fs.Sub(sampleFiles, "sample")
	if err != nil {
		return "", err
	}
	p, raw, err := pack(dir)
	if err != nil {
		return "", fmt.Errorf("sample: %w", err)
	}
	file := filepath.Join(d.dir, p.Name+".ispac")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		return "", err
	}
	_, err = deploy(ctx, d.client, file, demoFolder, p.Name, "", true)
	return p.Name, err
}
