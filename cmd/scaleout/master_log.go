package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/settings"
	"scaleout/cmd/service"
)

func (a *app) masterLog() *cobra.Command {
	var file, folder, name string
	var follow bool
	var lines int
	cmd := &cobra.Command{
		Use: "log", Short: "Show the service log of a master on this machine", Args: cobra.NoArgs,
		Example: `  scaleout master log --config MasterSettings.config --follow
  scaleout master log --log-folder scaleout-dev/logs --node-name master-1`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var m settings.Master
			set := settings.NewMaster(&m)
			var problems settings.Problems
			// What is wrong with other settings does not matter here.
			if err := set.Load(file, os.LookupEnv); err != nil && !errors.As(err, &problems) {
				return err
			}
			if folder == "" {
				folder = m.LogFolder
			}
			if name == "" && m.CertFile+m.NodeName != "" {
				name = masterName(m)
			}
			dir, err := service.Folder(folder, service.PartMaster)
			if err != nil {
				return err
			}
			path, err := logFile(dir, name)
			if err != nil {
				return err
			}
			t := &tail{path: path, out: cmd.OutOrStdout()}
			defer t.close()
			if err := t.begin(lines); err != nil {
				return err
			}
			if follow {
				return t.follow(cmd.Context())
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "the master's settings file")
	cmd.Flags().StringVar(&folder, "log-folder", "", "LogFolder, in place of the settings'")
	cmd.Flags().StringVar(&name, "node-name", "", "NodeName, in place of the settings'")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the log grows, until Ctrl-C")
	cmd.Flags().IntVarP(&lines, "lines", "n", 100, "how many of the last lines; 0: all")
	return cmd
}

// logFile is the named node's log in the folder; without a name the one log that is there.
func logFile(dir, name string) (string, error) {
	if name != "" {
		return service.LogFile(dir, name), nil
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return "", err
	}
	// Rotated files are called name-2026-01-31T02-03-04.000.log.
	var current []string
	for _, f := range found {
		if rotated, _ := filepath.Match("*-????-??-??T??-??-??.???.log", filepath.Base(f)); !rotated {
			current = append(current, f)
		}
	}
	switch len(current) {
	case 0:
		return "", fmt.Errorf("there is no service log in %s; --config names the settings of a master that logs elsewhere",
			dir)
	case 1:
		return current[0], nil
	}
	return "", usagef("%s holds several logs; choose one with --node-name", dir)
}

// tail prints the end of a file and what is added to it.
type tail struct {
	path string
	out  io.Writer
	file *os.File
}

func (t *tail) close() {
	if t.file != nil {
		t.file.Close()
	}
}

// begin prints the last lines; 0 means all.
func (t *tail) begin(lines int) (err error) {
	if t.file, err = os.Open(t.path); err != nil {
		return err
	}
	if lines > 0 {
		at, err := lastLines(t.file, lines)
		if err != nil {
			return err
		}
		if _, err := t.file.Seek(at, io.SeekStart); err != nil {
			return err
		}
	}
	_, err = io.Copy(t.out, t.file)
	return err
}

// lastLines is where the last n lines begin.
func lastLines(f *os.File, n int) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for at, seen := end, 0; at > 0; {
		size := min(int64(len(buf)), at)
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil {
			return 0, err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || at+i == end-1 {
				continue
			}
			if seen++; seen == n {
				return at + i + 1, nil
			}
		}
	}
	return 0, nil
}

// follow prints what is added, across rotations, until ctx ends.
func (t *tail) follow(ctx context.Context) error {
	for {
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return nil
		}
		if _, err := io.Copy(t.out, t.file); err != nil {
			return err
		}
		now, err := os.Stat(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // between the two steps of a rotation
		} else if err != nil {
			return err
		}
		open, err := t.file.Stat()
		if err != nil {
			return err
		}
		if os.SameFile(now, open) {
			continue
		}
		next, err := os.Open(t.path)
		if err != nil {
			continue
		}
		// The old file may have got a last line after it was read.
		var rest bytes.Buffer
		_, _ = io.Copy(&rest, t.file)
		if _, err := rest.WriteTo(t.out); err != nil {
			next.Close()
			return err
		}
		t.file.Close()
		t.file = next
	}
}
