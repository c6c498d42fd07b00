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

	"scaleout/cmd/dev"
	"scaleout/cmd/dev/demo"
)

//go:embed sample
var sampleFiles embed.FS

const (
	demoFolder  = "Demo"
	demoPackage = "daily.sh"
)

func (a *app) demoCommand() *cobra.Command {
	var f devFlags
	var count int
	cmd := &cobra.Command{
		Use: "demo", Args: cobra.NoArgs,
		Short: "See it work: a cluster, 200 executions, a killed leader, nothing lost and nothing run twice",
		Long: `Start masters and workers on this machine, deploy a sample project (extract, transform, load in shell), start
200 executions and kill the leader with SIGKILL when a third are done. The end is a table, with the check that each
execution succeeded and ran exactly once: each package appends its execution's id to a file, and the demo counts.

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
				return usagef("--workers 0: the executions need a worker")
			}
			err = a.demo(cmd.Context(), cmd.OutOrStdout(), l, count)
			var taken *dev.PortsError
			switch {
			case keep:
			// Shown, broken off by the person who watched, or not begun.
			case err == nil || cmd.Context().Err() != nil || errors.As(err, &taken):
				err = errors.Join(err, os.RemoveAll(l.Dir))
			default:
				fmt.Fprintf(cmd.ErrOrStderr(), "What was left is in %s.\n", l.Dir)
			}
			return devError(err)
		},
	}
	f.add(cmd, "")
	cmd.Flags().Lookup("data").Usage = "data directory, which is kept; default: a temporary one"
	cmd.Flags().IntVar(&count, "executions", 200, "how many executions")
	return cmd
}

func (a *app) demo(ctx context.Context, out io.Writer, l dev.Layout, count int) (err error) {
	begun := time.Now()
	fmt.Fprintf(out, "starting %d %s and %d %s in %s\n",
		l.Masters, plural(l.Masters, "master"), l.Workers, plural(l.Workers, "worker"), l.Dir)
	cfg := a.devConfig(out, l)
	cfg.WorkerSettings = map[string]any{"MaxTaskCount": 4} // few at once: all of them share this machine
	cluster, err := dev.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	project, err := deploySample(ctx, cluster)
	if err != nil {
		return friendly(err)
	}
	fmt.Fprintf(out, "ready after %v; %s is deployed to folder %s\n", rounded(time.Since(begun)), project, demoFolder)
	bar := newBar(out, count)
	result, err := demo.Run(ctx, demo.Config{
		Cluster: cluster, Folder: demoFolder, Project: project, Package: demoPackage,
		Output: filepath.Join(l.Dir, "output"), Count: count, Progress: bar,
	})
	bar.end()
	if err != nil {
		return friendly(err)
	}
	a.printDemo(out, result, time.Since(begun))
	if !result.Good() {
		return &statusError{exitFailed, errors.New("the demo failed: see the table")}
	}
	return nil
}

// deploySample packs the sample, deploys it and returns the project's name.
func deploySample(ctx context.Context, cluster *dev.Cluster) (string, error) {
	dir, err := fs.Sub(sampleFiles, "sample")
	if err != nil {
		return "", err
	}
	p, raw, err := pack(dir)
	if err != nil {
		return "", fmt.Errorf("sample: %w", err)
	}
	file := filepath.Join(cluster.Dir, p.Name+".ispac")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		return "", err
	}
	_, err = deploy(ctx, cluster.Client(), file, demoFolder, p.Name, "", true)
	return p.Name, err
}
