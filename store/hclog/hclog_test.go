package hclog

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log := New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	line := func(do func()) string {
		out.Reset()
		do()
		return out.String()
	}
	for name, tc := range map[string]struct {
		do   func()
		want []string
	}{
		"level and values": {func() {
			log.Warn("slow", "n", 7, "q", hclog.Fmt("%d / %d", 1, 2))
		}, []string{"level=WARN", "msg=slow", "n=7", `q="1 / 2"`}},
		"odd": {func() { log.Info("odd", "a", 1, "lonely") }, []string{"a=1", "extra=lonely"}},
		"no string key": {func() {
			log.Error("e", 5, "x", "h", hclog.Hex(255))
		}, []string{"5=x", "h=0xff", "level=ERROR"}},
		"name and with": {func() {
			log.Named("raft").Named("net").With("peer", "m2").Info("hi")
		}, []string{"component=raft.net", "peer=m2"}},
		"reset name": {func() { log.Named("raft").ResetNamed("x").Info("hi") }, []string{"component=x"}},
		"standard logger": {func() {
			log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true}).Print("[ERR] memberlist: gone")
		}, []string{"level=ERROR", `msg="memberlist: gone"`}},
		"standard writer": {func() { log.StandardLogger(nil).Print("[plain] text") }, []string{"level=INFO", "[plain] text"}},
		"forced level": {func() {
			log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn, InferLevels: true}).Print("[INFO] x")
		}, []string{"level=WARN"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := line(tc.do)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q lacks %q", got, want)
				}
			}
		})
	}
	if got := line(func() { log.Debug("x"); log.Trace("x"); log.Log(hclog.Off, "x") }); got != "" {
		t.Errorf("levels that are off were logged: %q", got)
	}
	if log.IsDebug() || log.IsTrace() || !log.IsInfo() || !log.IsWarn() || !log.IsError() || log.GetLevel() != hclog.Info {
		t.Error("wrong level", log.GetLevel())
	}
	got := line(func() { log.With("a", 1).With("b", 2).Named("n").Info("x") })
	if !strings.Contains(got, "a=1") || strings.Count(got, "b=2") != 1 {
		t.Errorf("%q", got)
	}
	if New(nil) == nil {
		t.Error("no logger for nil")
	}
}
