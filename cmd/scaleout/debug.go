package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/service"
	"scaleout/fsm/command"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// debugTime bounds what one master is asked.
const debugTime = 15 * time.Second

func (a *app) clusterDebug() *cobra.Command {
	return &cobra.Command{
		Use: "debug [FILE]", Short: "Gather what helps to find a fault into one file, without secrets",
		Args: cobra.MaximumNArgs(1),
		Long: `Gather what helps to find a fault into one file (tar.gz): the cluster's status, and of each master that answers
its metrics, settings, newest log lines, goroutines and state hash; masters, workers and the executions that live; the
newest events; versions. Values of parameters, keys and passwords are not in it; names of machines, projects and users
are.`,
		Example: "  scaleout cluster debug\n  scaleout cluster debug /tmp/bundle.tar.gz",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := "scaleout-debug-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
			if len(args) == 1 {
				path = args[0]
			}
			f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			b := newBundle(f, time.Now())
			nobody := b.gather(cmd.Context(), c)
			if err := errors.Join(b.close(), f.Close()); err != nil {
				return err
			}
			if nobody != nil {
				return errors.Join(nobody, os.Remove(path))
			}
			fmt.Fprintln(cmd.OutOrStdout(), path)
			for _, e := range b.failed {
				sayf(cmd.ErrOrStderr(), "not in it: %v", e)
			}
			return nil
		},
	}
}

// bundle writes a compressed archive. An entry that cannot be read is noted and left out, since a bundle is made when
// something is broken.
type bundle struct {
	zip    *gzip.Writer
	tar    *tar.Writer
	now    time.Time
	failed []string
	err    error
}

func newBundle(w io.Writer, now time.Time) *bundle {
	zip := gzip.NewWriter(w)
	// tar rounds to whole seconds: cut them, so that no file is dated in the future.
	return &bundle{zip: zip, tar: tar.NewWriter(zip), now: now.Truncate(time.Second)}
}

func (b *bundle) close() error {
	b.add("failed.txt", []byte(strings.Join(b.failed, "\n")))
	return errors.Join(b.err, b.tar.Close(), b.zip.Close())
}

func (b *bundle) add(name string, content []byte) {
	if b.err == nil {
		b.err = b.tar.WriteHeader(&tar.Header{Name: "scaleout-debug/" + name, Mode: 0o600, Size: int64(len(content)),
			ModTime: b.now})
	}
	if b.err == nil {
		_, b.err = b.tar.Write(content)
	}
}

// take adds what f gives: bytes as they are, anything else as JSON.
func take[T any](b *bundle, ctx context.Context, name string, f func(context.Context) (T, error)) (T, bool) {
	ctx, cancel := context.WithTimeout(ctx, debugTime)
	defer cancel()
	v, err := f(ctx)
	if err != nil {
		b.failed = append(b.failed, name+": "+err.Error())
		return v, false
	}
	raw, isBytes := any(v).([]byte)
	if !isBytes {
		if raw, err = json.MarshalIndent(v, "", "  "); err != nil {
			b.failed = append(b.failed, name+": "+err.Error())
			return v, false
		}
	}
	b.add(name, raw)
	return v, true
}

// gather fails if no master answers at all.
func (b *bundle) gather(ctx context.Context, c *client.Client) error {
	take(b, ctx, "client.json", func(context.Context) (any, error) {
		return map[string]any{"version": version, "commit": commit, "go": runtime.Version(), "os_arch": runtime.GOOS + "/" +
			runtime.GOARCH,
			"feature_level": command.Level, "time": b.now.UTC(), "masters": c.Masters()}, nil
	})
	masters := map[string]string{} // name of the folder → address
	for i, m := range c.Masters() {
		masters[fmt.Sprintf("master-at-%d", i+1)] = m
	}
	var nobody error
	s, led := take(b, ctx, "cluster.json", func(ctx context.Context) (wire.ClusterStatus, error) {
		s, err := c.Cluster(ctx)
		if errors.Is(err, client.ErrUnreachable) {
			nobody = err
		}
		return s, err
	})
	if nobody != nil {
		return nobody
	}
	known := led
	if !led { // the status is what one of the masters sees
		s, known = take(b, ctx, "cluster.json", c.ClusterStale)
	}
	if known {
		clear(masters)
		for _, m := range s.Members {
			masters[service.FileName(m.Name)] = m.Address
		}
	}
	for name, address := range masters {
		one, err := c.At(address)
		if err != nil {
			b.failed = append(b.failed, name+": "+err.Error())
			continue
		}
		b.master(ctx, one, name)
	}
	for _, v := range []struct {
		view  string
		equal map[string]any
		file  string
	}{
		{"master_nodes", nil, "masters"}, {"master_properties", nil, "master_properties"}, {"worker_agents", nil, "workers"},
		{"tasks", nil, "tasks"}, {"executions", map[string]any{"status": 2}, "executions_running"},
		{"executions", map[string]any{"status": 5}, "executions_pending"},
		{"executions", map[string]any{"status": 8}, "executions_stopping"},
	} {
		take(b, ctx, "views/"+v.file+".json", func(ctx context.Context) ([]client.Row, error) {
			page, err := c.View(ctx, v.view, client.Query{Equal: v.equal, PageSize: 1000, Stale: !led})
			return page.Rows, err
		})
	}
	take(b, ctx, "events.json", func(ctx context.Context) ([]wire.Event, error) {
		const most = 5000
		var events []wire.Event
		err := c.Events(ctx, client.EventsFrom{After: "0"}, func(e wire.Event) error {
			if events = append(events, e); len(events) > 2*most {
				events = append([]wire.Event(nil), events[most:]...)
			}
			return nil
		})
		return events, err
	})
	return nil
}

// master adds what one master knows, whether or not it leads.
func (b *bundle) master(ctx context.Context, c *client.Client, name string) {
	dir := "masters/" + name + "/"
	if _, answers := take(b, ctx, dir+"ready.json", c.Ready); !answers {
		return // its other pages would time out, too
	}
	take(b, ctx, dir+"leader.json", c.Leader)
	take(b, ctx, dir+"metrics.txt", c.Metrics)
	take(b, ctx, dir+"state-hash.json", func(ctx context.Context) (wire.StateHash, error) { return c.StateHash(ctx, 0) })
	ctx, cancel := context.WithTimeout(ctx, debugTime)
	defer cancel()
	d, err := c.Debug(ctx)
	if err != nil {
		b.failed = append(b.failed, dir+"debug.json: "+err.Error())
		return
	}
	b.add(dir+"log.txt", []byte(strings.Join(d.Log, "\n")))
	b.add(dir+"goroutines.txt", []byte(d.Goroutines))
	d.Log, d.Goroutines = nil, ""
	take(b, ctx, dir+"debug.json", func(context.Context) (wire.Debug, error) { return d, nil })
}
