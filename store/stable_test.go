package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// setFails is a log whose disk takes a number of Raft's values and then no more.
type setFails struct {
	LogStore
	left int
}

var errSet = errors.New("the process ends here (injected)")

func (s *setFails) Set(key, value []byte) error {
	if s.left--; s.left < 0 {
		return errSet
	}
	return s.LogStore.Set(key, value)
}

func (s *setFails) SetUint64(key []byte, value uint64) error {
	if s.left--; s.left < 0 {
		return errSet
	}
	return s.LogStore.SetUint64(key, value)
}

// Raft writes a vote in two steps: the term, then the candidate. Between the two the candidate is that of an older
// term. A node that ends there has given no answer. Its disk is whole, so it starts, and votes at most once in that
// term.
func TestACrashBetweenTheTwoWritesOfAVote(t *testing.T) {
	for done, want := range []struct {
		term, voteTerm uint64
		candidate      string
	}{
		{5, 5, "first"},  // before the term
		{6, 5, "first"},  // after the term, before the vote
		{6, 6, "first"},  // within the vote
		{6, 6, "second"}, // after it
	} {
		t.Run(fmt.Sprintf("after %d writes", done), func(t *testing.T) {
			path := t.TempDir()
			w := &setFails{left: 3}
			d := open(t, path, func(o *Options) { o.WrapLog = func(l LogStore) LogStore { w.LogStore = l; return w } })
			vote := func(term uint64, candidate string) error {
				if err := d.Log().SetUint64([]byte("CurrentTerm"), term); err != nil {
					return err
				}
				if err := d.Log().SetUint64([]byte("LastVoteTerm"), term); err != nil {
					return err
				}
				return d.Log().Set([]byte("LastVoteCand"), []byte(candidate))
			}
			must(t, vote(5, "first"))
			w.left = done
			if err := vote(6, "second"); done < 3 {
				wantErr(t, err, errSet)
			} else {
				must(t, err)
			}
			closeDir(t, d)

			d = open(t, path)
			term, err := d.Log().GetUint64([]byte("CurrentTerm"))
			must(t, err)
			voteTerm, err := d.Log().GetUint64([]byte("LastVoteTerm"))
			must(t, err)
			candidate, err := d.Log().Get([]byte("LastVoteCand"))
			must(t, err)
			if term != want.term || voteTerm != want.voteTerm || string(candidate) != want.candidate {
				t.Fatalf("term %d, vote in %d for %q; want %+v", term, voteTerm, candidate, want)
			}
			granted := votesGranted(t, d, 6, "first", "second", "third")
			if len(granted) != 1 {
				t.Errorf("granted in term 6: %q, want one", granted)
			}
			if done == 3 && granted[0] != "second" {
				t.Errorf("the vote was given to second, and now to %q", granted)
			}
		})
	}
}

// votesGranted starts Raft on a directory and lets candidates ask for its vote, one after the other, twice.
func votesGranted(t *testing.T, d *Dir, term uint64, candidates ...string) (granted []string) {
	t.Helper()
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(d.ID())
	conf.Logger = hclog.NewNullLogger()
	self, trans := raft.NewInmemTransport("")
	r, err := raft.NewRaft(conf, &counter{}, d.Log(), d.Log(), d.Snapshots(), trans)
	must(t, err)
	defer func() { must(t, r.Shutdown().Error()) }()
	seen := map[string]bool{}
	for range 2 {
		for _, c := range candidates {
			addr, from := raft.NewInmemTransport(raft.ServerAddress(c))
			from.Connect(self, trans)
			var answer raft.RequestVoteResponse
			must(t, from.RequestVote(conf.LocalID, self, &raft.RequestVoteRequest{
				RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(c), Addr: []byte(addr)},
				Term:      term,
			}, &answer))
			if answer.Granted && !seen[c] {
				seen[c] = true
				granted = append(granted, c)
			}
			must(t, from.Close())
		}
	}
	return granted
}

// A page of the log file that is what it was before the last vote or the last entry is sound in itself. It is noticed
// all the same, whichever page it is.
func TestAnOldPageIsNoticed(t *testing.T) {
	for name, write := range map[string]func(t *testing.T, l *Log){
		"a vote":  func(t *testing.T, l *Log) { must(t, l.SetUint64([]byte("LastVoteTerm"), 9)) },
		"entries": func(t *testing.T, l *Log) { must(t, l.StoreLogs(entries(301, 310, 300))) },
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			file := filepath.Join(path, logName)
			d := open(t, path)
			must(t, d.Log().StoreLogs(entries(1, 300, 300)))
			must(t, d.Log().SetUint64([]byte("LastVoteTerm"), 8))
			closeDir(t, d)
			before, err := os.ReadFile(file)
			must(t, err)
			d = open(t, path)
			write(t, d.Log())
			closeDir(t, d)
			after, err := os.ReadFile(file)
			must(t, err)
			const page = 4096
			changed := 0
			for at := 0; at < min(len(before), len(after)); at += page {
				if string(before[at:at+page]) == string(after[at:at+page]) {
					continue
				}
				changed++
				damaged := append(append(append([]byte{}, after[:at]...), before[at:at+page]...), after[at+page:]...)
				must(t, os.WriteFile(file, damaged, 0o600))
				if at < 2*page {
					continue // an old meta page is what a crash before the last write leaves, and the last write is not there then
				}
				_, err := Open(path, Options{Logger: quiet()})
				wantErr(t, err, ErrCorrupt, file)
			}
			if changed < 2 {
				t.Errorf("%d pages changed", changed)
			}
		})
	}
}

// A log that is deleted as a whole, because all of it differs from the leader's, can be torn like a log whose end is
// deleted. A log that a snapshot holds may go.
func TestAWholeLogIsReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		snapshot uint64 // ends here; 0: none
		full     bool
		next     uint64 // the entry that is stored afterwards
		torn     bool
	}{
		"replaced":                                   {next: 1},
		"replaced, and the disk is full":             {full: true, next: 1, torn: true},
		"not replaced":                               {next: 4, torn: true},
		"held by a snapshot":                         {snapshot: 3, next: 4},
		"held by a snapshot, and the disk is full":   {snapshot: 3, full: true, next: 4},
		"held by a snapshot that reaches not so far": {snapshot: 2, next: 4, torn: true},
	} {
		t.Run(name, func(t *testing.T) {
			var disk fillable
			d := open(t, t.TempDir(), func(o *Options) {
				o.WrapLog = func(l LogStore) LogStore { disk.LogStore = l; return &disk }
			})
			l := d.Log()
			must(t, l.StoreLogs(entries(1, 3, 10)))
			if c.snapshot > 0 {
				sink, err := d.Snapshots().Create(1, c.snapshot, 1, raft.Configuration{}, 1, nil)
				must(t, err)
				must(t, sink.Close())
			}
			must(t, l.DeleteRange(1, 3))
			wantRange(t, l, 0, 0)
			disk.full = c.full
			err := l.StoreLog(entry(c.next, 10))
			if (err == nil) == (c.torn || c.full) || l.Torn() != c.torn {
				t.Errorf("torn %v, want %v; error %v", l.Torn(), c.torn, err)
			}
		})
	}
}
