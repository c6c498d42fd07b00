package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/cmd/scaleout/settings"
)

// changed gives a setting another value.
func changed(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("other")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + int64(time.Second))
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Slice:
		v.Set(reflect.ValueOf([]string{"other"}))
	case reflect.Map:
		v.Set(reflect.ValueOf(settings.Runners{".x": {"y"}}))
	default:
		t.Fatal(v.Kind())
	}
}

// Each of the following tests changes one setting after the other and looks whether the configuration changes: a new
// setting that nobody maps is noticed.

func TestEachMasterSettingReaches(t *testing.T) {
	elsewhere := map[string]bool{"SqlConnectionTimeoutInSecs": true, "LogFolder": true}
	var m settings.Master
	for _, s := range settings.NewMaster(&m).Settings() {
		c := m
		changed(t, reflect.ValueOf(&c).Elem().FieldByName(s.Key))
		if reached := !reflect.DeepEqual(masterConfig(c), masterConfig(m)); reached == elsewhere[s.Key] {
			t.Errorf("%s: reaches the configuration: %v", s.Key, reached)
		}
	}
}

func TestEachWorkerSettingReaches(t *testing.T) {
	elsewhere := map[string]bool{"LogFolder": true, "MasterEndpoint": true}
	var w settings.Worker
	set := settings.NewWorker(&w)
	all := func(w settings.Worker) any {
		c, err := workerConfig(w, "w")
		if err != nil {
			t.Fatal(err)
		}
		return []any{c, workerCredentials(w)}
	}
	for _, s := range set.Settings() {
		c := w
		changed(t, reflect.ValueOf(&c).Elem().FieldByName(s.Key))
		none := elsewhere[s.Key] || strings.HasPrefix(s.Doc, "accepted for old files")
		if reached := !reflect.DeepEqual(all(c), all(w)); reached == none {
			t.Errorf("%s: reaches the configuration: %v", s.Key, reached)
		}
	}
}

func TestTwoWorkersOfAnAccountDoNotShareTasks(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	a, err := workerConfig(settings.Worker{}, "worker-1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := workerConfig(settings.Worker{}, "worker-2")
	if err != nil || a.TasksRootFolder == b.TasksRootFolder {
		t.Errorf("%s %s %v", a.TasksRootFolder, b.TasksRootFolder, err)
	}
}

func TestLastLines(t *testing.T) {
	dir := t.TempDir()
	var long strings.Builder
	for i := range 20_000 {
		fmt.Fprintln(&long, "line", i)
	}
	for _, x := range []struct {
		text  string
		n     int
		lines int
	}{
		{"", 5, 0}, {"a\nb\nc\n", 2, 2}, {"a\nb\nc", 2, 2}, {"a\nb\nc\n", 9, 3}, {"a\nb\nc\n", 0, 3}, {"\n\n\n", 2, 2},
		{long.String(), 15_000, 15_000},
	} {
		path := filepath.Join(dir, "x.log")
		if err := os.WriteFile(path, []byte(x.text), 0o600); err != nil {
			t.Fatal(err)
		}
		out := new(bytes.Buffer)
		tl := &tail{path: path, out: out}
		if err := tl.begin(x.n); err != nil {
			t.Fatal(err)
		}
		tl.close()
		if got := len(strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")); out.Len() > 0 && got != x.lines ||
			out.Len() == 0 && x.lines > 0 || !strings.HasSuffix(x.text, out.String()) {
			t.Errorf("%.20q, last %d: %d lines", x.text, x.n, got)
		}
	}
}

// signalWriter tells when a text has been written.
type signalWriter struct {
	mu   sync.Mutex
	text strings.Builder
	want map[string]chan struct{}
}

func (w *signalWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	for text, c := range w.want {
		if strings.Contains(w.text.String(), text) {
			close(c)
			delete(w.want, text)
		}
	}
	return len(p), nil
}

func TestTailFollowsAcrossRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.log")
	write := func(text string) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	two, three := make(chan struct{}), make(chan struct{})
	out := &signalWriter{want: map[string]chan struct{}{"two\n": two, "three\n": three}}
	tl := &tail{path: path, out: out}
	if err := tl.begin(10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := tl.follow(ctx); err != nil {
			t.Error(err)
		}
	})
	write("two\n")
	<-two
	if err := os.Rename(path, path+".old"); err != nil {
		t.Skip("an open file cannot be renamed here: ", err)
	}
	write("three\n")
	<-three
	cancel()
	wg.Wait()
	tl.close()
	if got := out.text.String(); got != "one\ntwo\nthree\n" {
		t.Errorf("%q", got)
	}
}
