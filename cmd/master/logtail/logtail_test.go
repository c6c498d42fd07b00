package logtail

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// open returns a logger of the given level, what it has written to the log, and its tail. Neither shows the time.
func open(level slog.Level) (*slog.Logger, *bytes.Buffer, *Tail) {
	var log bytes.Buffer
	var tail Tail
	return tail.Logger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))), &log, &tail
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		name          string
		level, record slog.Level
		log, tail     bool
	}{
		{"info at info", slog.LevelInfo, slog.LevelInfo, true, true},
		{"error at info", slog.LevelInfo, slog.LevelError, true, true},
		{"debug at debug stays out of the tail", slog.LevelDebug, slog.LevelDebug, true, false},
		{"info at warn", slog.LevelWarn, slog.LevelInfo, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			logger, log, tail := open(c.level)
			logger.Log(t.Context(), c.record, "hello")
			if log.Len() > 0 != c.log || len(tail.Lines()) > 0 != c.tail {
				t.Errorf("log %q, tail %q; want %v, %v", log, tail.Lines(), c.log, c.tail)
			}
		})
	}
}

func TestAttributesReachBoth(t *testing.T) {
	logger, log, tail := open(slog.LevelInfo)
	logger.With("node", "m1").WithGroup("g").Info("hello", "k", "v")
	for name, line := range map[string]string{"log": log.String(), "tail": strings.Join(tail.Lines(), "|")} {
		for _, want := range []string{"msg=hello", "node=m1", "g.k=v"} {
			if !strings.Contains(line, want) {
				t.Errorf("the %s has %q without %s", name, line, want)
			}
		}
	}
}

func TestOldLinesGiveWay(t *testing.T) {
	for _, written := range []int{0, 1, Size, Size + 1, 2*Size + 7} {
		t.Run(fmt.Sprint(written), func(t *testing.T) {
			var tail Tail
			for i := range written {
				fmt.Fprintf(&tail, "%d\n", i)
			}
			var want []string
			for i := max(0, written-Size); i < written; i++ {
				want = append(want, fmt.Sprint(i))
			}
			if got := tail.Lines(); !slices.Equal(got, want) {
				t.Errorf("%d lines, want %d: %.200q", len(got), len(want), got)
			}
		})
	}
}

func TestLongLinesAreCut(t *testing.T) {
	for _, c := range []struct {
		name    string
		written string
		want    string
	}{
		{"as long as may be", strings.Repeat("x", widest-1) + "\n", strings.Repeat("x", widest-1)},
		{"longer", strings.Repeat("x", widest+1) + "\n", strings.Repeat("x", widest) + "…"},
		{"cut within a character", strings.Repeat("x", widest-1) + "é\n", strings.Repeat("x", widest-1) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tail Tail
			n, err := tail.Write([]byte(c.written))
			if err != nil || n != len(c.written) {
				t.Errorf("it took %d bytes, %v", n, err)
			}
			if got := tail.Lines(); len(got) != 1 || got[0] != c.want {
				t.Errorf("%d bytes are kept, want %d", len(got[0]), len(c.want))
			}
		})
	}
}
