package service

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/procedure"
)

func TestNewWantsWhatItNeeds(t *testing.T) {
	n := &node{world: fsmtest.NewWorld(t)}
	whole := n.service(t).cfg
	for name, spoil := range map[string]func(*Config){
		"Proposer": func(c *Config) { c.Proposer = nil }, "State": func(c *Config) { c.State = nil },
		"Workers": func(c *Config) { c.Workers = nil }, "Blobs": func(c *Config) { c.Blobs = nil },
		"Seal": func(c *Config) { c.Seal = nil }, "Open": func(c *Config) { c.Open = nil },
		"Settings": func(c *Config) { c.Settings = nil },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := whole
			spoil(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), name+" is required") {
				t.Error(err)
			}
		})
	}
	if got := n.service(t).Timeout(); got != 30*time.Second {
		t.Errorf("a call may take %v by default", got)
	}
}

func TestStateHash(t *testing.T) {
	for _, c := range []struct {
		name        string
		want, index uint64
		hash        string
		says        string
		took        time.Duration
	}{
		{name: "now", index: 2, hash: "now"},
		{name: "exactly here", want: 2, index: 2, hash: "there"},
		{name: "passed", want: 1, says: "it is at 2; ask without an index"},
		{name: "never reached", want: 3, says: "the call took too long", took: hashWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &node{world: fsmtest.NewWorld(t)}
				n.world.Must(fsmtest.Alice, &command.CreateFolder{Name: "F"})
				began := time.Now()
				index, hash, err := n.service(t).StateHash(t.Context(), c.want)
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				var passed *IndexPassed
				switch {
				case c.says == "" && (err != nil || index != c.index || hash != c.hash):
					t.Errorf("answered %d %q %v", index, hash, err)
				case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
					t.Errorf("answered %v, want %q", err, c.says)
				case errors.As(err, &passed) != errors.Is(err, command.ErrIndexPassed), passed != nil && passed.Index != 2:
					t.Errorf("answered %#v", err)
				}
			})
		})
	}
}

func TestPutBlobKeepsToTheLimit(t *testing.T) {
	n := &node{world: fsmtest.NewWorld(t)}
	n.world.Config = procedure.Config{MaxProjectBytes: 10}
	s := n.service(t)
	for _, c := range []struct {
		name, content string
		size          int64
		tooLarge      bool
	}{
		{"none", "", 0, false},
		{"as much as may be", "0123456789", 10, false},
		{"as much, of unknown size", "0123456789", -1, false},
		{"said to be more", "", 11, true},
		{"more, of unknown size", "0123456789a", -1, true},
		{"much more", strings.Repeat("x", 5000), -1, true},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
			"with its end": iotest.DataErrReader,
		} {
			t.Run(c.name+" "+how, func(t *testing.T) {
				clear(n.world.Blobs)
				size, err := s.PutBlob(t.Context(), fsmtest.Alice, "d", c.size, reader(strings.NewReader(c.content)))
				got, kept := n.world.Blobs["d"]
				switch {
				case c.tooLarge && (!errors.Is(err, command.ErrBlobTooLarge) || kept):
					t.Errorf("answered %v, kept %t", err, kept)
				case !c.tooLarge && (err != nil || size != int64(len(c.content)) || string(got) != c.content):
					t.Errorf("answered %d %v, kept %q", size, err, got)
				}
			})
		}
	}
}
