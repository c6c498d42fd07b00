package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var when = time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)

func open(t testing.TB, dir string, l Limits) *Spool {
	t.Helper()
	s, err := Open(dir, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func texts(ts ...string) []Message {
	var ms []Message
	for _, text := range ts {
		ms = append(ms, Message{Time: when, Type: 70, SourceType: 20, Text: text})
	}
	return ms
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pending(t testing.TB, s *Spool, max int) []Batch {
	t.Helper()
	b, err := s.Pending(max)
	must(t, err)
	return b
}

func TestReports(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{})
	a, b := Key{7, 1}, Key{7, 2}
	must(t, s.AddReport(Report{Key: b, Outcome: "failed", ExitCode: 3, Message: "why"}))
	must(t, s.AddReport(Report{Key: a, Outcome: "succeeded"}))
	must(t, s.AddReport(Report{Key: b, Outcome: "succeeded"}))
	if r := s.Reports(); len(r) != 2 || r[0].Key != b || r[0].Outcome != "failed" {
		t.Fatalf("%+v", r)
	}
	must(t, s.Close())
	s = open(t, dir, Limits{})
	r := s.Reports()
	if len(r) != 2 || r[1] != (Report{Key: b, Outcome: "failed", ExitCode: 3, Message: "why"}) {
		t.Fatalf("after a restart: %+v", r)
	}
	must(t, s.Settled(a))
	must(t, s.Settled(a))
	s = open(t, dir, Limits{})
	if r := s.Reports(); len(r) != 1 || r[0].Key != b {
		t.Fatalf("after settling: %+v", r)
	}
	must(t, s.Settled(b))
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left on disk: %v", left)
	}
}

// What a worker that was killed while it wrote a report leaves is no report and does not stay.
func TestAHalfWrittenReportIsForgotten(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "7-1.report.tmp-123"), []byte(`{"task_i`), 0o600))
	s := open(t, dir, Limits{})
	if r := s.Reports(); len(r) != 0 {
		t.Errorf("reports %+v", r)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left on disk: %v", left)
	}
}

func TestDamagedReportIsSaid(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "7-1.report"), []byte(`{"task_id":8}`), 0o600))
	if _, err := Open(dir, Limits{}); err == nil || !strings.Contains(err.Error(), "7-1.report") {
		t.Fatalf("opened: %v", err)
	}
}

func TestMessagesSurviveAndAreNumbered(t *testing.T) {
	dir := t.TempDir()
	k := Key{7, 1}
	s := open(t, dir, Limits{})
	must(t, s.AppendMessages(k, texts("a", "b"), 20))
	must(t, s.AppendMessages(k, texts("c"), 30))
	if b := pending(t, s, 1<<20); len(b) != 1 || b[0].First != 1 || len(b[0].Messages) != 3 {
		t.Fatalf("%+v", b)
	}
	must(t, s.Accepted(k, 3))
	if b := pending(t, s, 1<<20); len(b) != 1 || b[0].First != 3 || b[0].Messages[0].Text != "c" {
		t.Fatalf("%+v", b)
	}
	must(t, s.Close())
	// What was taken is not remembered: it is offered again under the same numbers, and skipped by the cluster.
	s = open(t, dir, Limits{})
	if mark, full := s.Mark(k); mark != 30 || full {
		t.Errorf("mark %d %v", mark, full)
	}
	b := pending(t, s, 1<<20)
	if len(b) != 1 || b[0].First != 1 || len(b[0].Messages) != 3 || b[0].Messages[2] != texts("c")[0] {
		t.Fatalf("after a restart: %+v", b)
	}
	must(t, s.Accepted(k, 4))
	if b := pending(t, s, 1<<20); len(b) != 0 {
		t.Fatalf("%+v", b)
	}
	must(t, s.AppendMessages(k, texts("d"), 40))
	if b := pending(t, s, 1<<20); b[0].First != 4 {
		t.Fatalf("%+v", b)
	}
	must(t, closed(s.CloseAttempt(k, texts("end"))))
	must(t, closed(s.CloseAttempt(k, texts("end"))))
	if err := s.AppendMessages(k, texts("late"), 50); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	must(t, s.Accepted(k, 6))
	if idle, _, _ := s.Idle(); !idle {
		t.Error("not idle")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left on disk: %v", left)
	}
}

func TestTornRecordIsDropped(t *testing.T) {
	k := Key{7, 1}
	whole := t.TempDir()
	s := open(t, whole, Limits{})
	must(t, s.AppendMessages(k, texts("first"), 5))
	must(t, s.AppendMessages(k, texts("second"), 12))
	must(t, s.Close())
	data, err := os.ReadFile(filepath.Join(whole, "7-1.messages"))
	must(t, err)
	first := strings.IndexByte(string(data), '\n') + 1
	for cutAt := first; cutAt < len(data); cutAt++ {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "7-1.messages"), data[:cutAt], 0o600))
		s := open(t, dir, Limits{})
		if mark, _ := s.Mark(k); mark != 5 {
			t.Fatalf("cut at %d: mark %d", cutAt, mark)
		}
		must(t, s.AppendMessages(k, texts("again"), 12))
		must(t, s.Close())
		s = open(t, dir, Limits{})
		b := pending(t, s, 1<<20)
		if len(b) != 1 || len(b[0].Messages) != 2 || b[0].Messages[1].Text != "again" {
			t.Fatalf("cut at %d: %+v", cutAt, b)
		}
		must(t, s.Close())
	}
}

func TestCatalogSetBack(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	k := Key{7, 1}
	must(t, s.AppendMessages(k, texts("a", "b", "c"), 3))
	must(t, s.Accepted(k, 4))
	must(t, s.Accepted(k, 2))
	if b := pending(t, s, 1<<20); len(b) != 1 || b[0].First != 2 || len(b[0].Messages) != 2 {
		t.Fatalf("%+v", b)
	}
	must(t, s.Accepted(k, 10))
	must(t, s.AppendMessages(k, texts("d"), 4))
	if b := pending(t, s, 1<<20); len(b) != 1 || b[0].First != 10 || b[0].Messages[0].Text != "d" {
		t.Fatalf("%+v", b)
	}
}

func TestBounds(t *testing.T) {
	for name, l := range map[string]Limits{
		"messages": {Messages: 5}, "bytes": {Bytes: 600}, "total": {Total: 600},
	} {
		t.Run(name, func(t *testing.T) {
			l.Closing = 2
			s := open(t, t.TempDir(), l)
			k := Key{7, 1}
			for i := range 50 {
				must(t, s.AppendMessages(k, texts(fmt.Sprint("line ", i)), int64(i)))
			}
			if mark, full := s.Mark(k); mark != 49 || !full {
				t.Errorf("mark %d %v", mark, full)
			}
			must(t, closed(s.CloseAttempt(k, texts("dropped", "tail", "failed"))))
			b := pending(t, s, 1<<20)
			got := b[0].Messages
			n := len(got)
			if n < 5 || n > 10 || got[n-1].Text != "failed" || got[n-2].Text != "tail" ||
				!strings.Contains(got[n-3].Text, "limit") {
				t.Fatalf("%d messages: %+v", n, got)
			}
			for i, m := range got[:n-3] {
				if m.Text != fmt.Sprint("line ", i) {
					t.Errorf("message %d is %q", i, m.Text)
				}
			}
		})
	}
}

func TestTextIsCutAndValid(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	k := Key{7, 1}
	must(t, s.AppendMessages(k, texts(strings.Repeat("ü", maxText), "\xff"), 0))
	b := pending(t, s, 1<<20)
	if m := b[0].Messages[0].Text; len(m) > maxText || !strings.HasSuffix(m, "ü"+cutNotice) {
		t.Errorf("%d bytes, end %q", len(m), m[len(m)-20:])
	}
	if m := b[0].Messages[1].Text; m != "\uFFFD" {
		t.Errorf("%q", m)
	}
}

func TestShares(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	loud, quiet := Key{1, 1}, Key{2, 1}
	for range 100 {
		must(t, s.AppendMessages(loud, texts(strings.Repeat("x", 100)), 0))
	}
	must(t, s.AppendMessages(quiet, texts("hello"), 0))
	b := pending(t, s, 1000)
	if len(b) != 2 || b[1].Messages[0].Text != "hello" || len(b[0].Messages) > 10 {
		t.Fatalf("%d batches, %d of the first", len(b), len(b[0].Messages))
	}
	must(t, s.Drop(loud))
	if b := pending(t, s, 1000); len(b) != 1 || b[0].Key != quiet {
		t.Fatalf("%+v", b)
	}
}

// A cluster that takes what it is sent, skips what it has and sometimes loses its answer gets every message exactly
// once and in order, however often the worker restarts.
func TestNoDoubles(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		must(t, err)
		s := open(t, dir, Limits{})
		k := Key{7, 1}
		var sent, got []string
		var closed bool
		for !closed {
			switch rapid.IntRange(0, 5).Draw(r, "step") {
			case 0, 1:
				text := fmt.Sprint("m", len(sent))
				must(t, s.AppendMessages(k, texts(text), int64(len(sent)+1)))
				sent = append(sent, text)
			case 2, 3:
				for _, b := range pending(t, s, rapid.IntRange(1, 20).Draw(r, "bytes")) {
					if b.First > int64(len(got))+1 {
						r.Fatalf("gap: first %d, cluster has %d", b.First, len(got))
					}
					for i, m := range b.Messages {
						if b.First+int64(i) > int64(len(got)) {
							got = append(got, m.Text)
						}
					}
					if rapid.Bool().Draw(r, "answer arrives") {
						must(t, s.Accepted(k, int64(len(got))+1))
					}
				}
			case 4:
				must(t, s.Close())
				s = open(t, dir, Limits{})
				if mark, _ := s.Mark(k); mark != int64(len(sent)) {
					r.Fatalf("mark %d, want %d", mark, len(sent))
				}
			case 5:
				closed = len(sent) > 5
			}
		}
		for _, b := range pending(t, s, 1<<20) {
			for i, m := range b.Messages {
				if b.First+int64(i) > int64(len(got)) {
					got = append(got, m.Text)
				}
			}
		}
		if strings.Join(got, " ") != strings.Join(sent, " ") {
			r.Fatalf("got %v, sent %v", got, sent)
		}
		must(t, s.Close())
	})
}

// closed returns the error of a CloseAttempt.
func closed(_ int64, err error) error { return err }
