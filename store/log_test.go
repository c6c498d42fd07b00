package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

func noCache(o *Options) { o.LogCacheBytes = -1 }

func wrap(g *gated) func(*Options) {
	return func(o *Options) {
		o.WrapLog = func(s LogStore) LogStore { g.LogStore = s; return g }
	}
}

func wantRange(t testing.TB, l *Log, first, last uint64) {
	t.Helper()
	f, err := l.FirstIndex()
	must(t, err)
	n, err := l.LastIndex()
	must(t, err)
	if f != first || n != last {
		t.Fatalf("log is %d to %d, want %d to %d", f, n, first, last)
	}
}

func wantEntry(t testing.TB, l *Log, want *raft.Log) {
	t.Helper()
	var got raft.Log
	if err := l.GetLog(want.Index, &got); err != nil {
		t.Fatalf("entry %d: %v", want.Index, err)
	}
	if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type ||
		!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Extensions, want.Extensions) {
		t.Fatalf("entry %d: got %+v", want.Index, got)
	}
}

func TestLogKeepsWhatIsStored(t *testing.T) {
	for name, opt := range map[string]func(*Options){"cached": func(*Options) {}, "uncached": noCache} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			d := open(t, path, opt)
			l := d.Log()
			wantRange(t, l, 0, 0)
			if err := l.GetLog(1, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
				t.Fatalf("missing entry: %v", err)
			}
			special := []*raft.Log{
				{Index: 1, Term: 1, Type: raft.LogNoop},
				{Index: 2, Term: 1, Type: raft.LogConfiguration, Data: []byte("c"), Extensions: []byte("ext")},
				{Index: 3, Term: 2, Data: []byte{}, AppendedAt: time.Now()},
			}
			must(t, l.StoreLogs(special))
			must(t, l.StoreLog(entry(4, 300_000)))
			for range 2 {
				for _, e := range append(special, entry(4, 300_000)) {
					wantEntry(t, l, e)
				}
				wantRange(t, l, 1, 4)
				if b := l.Bytes(); b < 300_004 || b > 301_000 {
					t.Fatalf("bytes %d", b)
				}
				closeDir(t, d)
				d = open(t, path, opt)
				l = d.Log()
			}
			if n := logFileBytes(t, path); n < 300_000 {
				t.Errorf("file of %d bytes", n)
			}
			if special[1].Extensions = special[1].Extensions[:3]; string(special[1].Extensions) != "ext" {
				t.Error("the caller's entry was changed")
			}
		})
	}
}

func TestStableStore(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	// Raft compares the text of this error.
	if _, err := d.Log().GetUint64([]byte("CurrentTerm")); err == nil || err.Error() != "not found" {
		t.Fatalf("missing number: %v", err)
	}
	if _, err := d.Log().Get([]byte("LastVoteCand")); err == nil || err.Error() != "not found" {
		t.Fatalf("missing value: %v", err)
	}
	must(t, d.Log().SetUint64([]byte("CurrentTerm"), 7))
	must(t, d.Log().Set([]byte("LastVoteCand"), []byte("me")))
	closeDir(t, d)
	d = open(t, path)
	if n, err := d.Log().GetUint64([]byte("CurrentTerm")); n != 7 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if v, err := d.Log().Get([]byte("LastVoteCand")); string(v) != "me" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
}

func TestDeleteRangeGoesInSteps(t *testing.T) {
	for name, c := range map[string]struct {
		low, high uint64
		calls     []string
		first     uint64
		last      uint64
	}{
		"oldest":       {1, 600, []string{"delete 1-256", "delete 257-512", "delete 513-600"}, 601, 1000},
		"below oldest": {0, 10, []string{"delete 1-10"}, 11, 1000},
		// The steps go from the end downwards, because a crash in between must leave no hole.
		"newest": {601, 1000, []string{"delete 745-1000", "delete 601-744"}, 1, 600},
		"beyond": {999, 5_000_000_000, []string{"delete 999-1000"}, 1, 998},
		"middle": {300, 700, []string{"delete 300-700"}, 1, 1000},
		"all":    {0, 1000, []string{"delete 745-1000", "delete 489-744", "delete 233-488", "delete 1-232"}, 0, 0},
		"none":   {10, 9, nil, 1, 1000},
		"step":   {1, 256, []string{"delete 1-256"}, 257, 1000},
		"step+1": {1, 257, []string{"delete 1-256", "delete 257-257"}, 258, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			g := &gated{}
			l := open(t, t.TempDir(), wrap(g), func(o *Options) { o.LogCacheBytes = 50_000 }).Log()
			must(t, l.StoreLogs(entries(1, 1000, 100)))
			g.calls = make(chan string, 100)
			must(t, l.DeleteRange(c.low, c.high))
			close(g.calls)
			var calls []string
			for call := range g.calls {
				calls = append(calls, call)
			}
			if !slices.Equal(calls, c.calls) {
				t.Errorf("deleted %q, want %q", calls, c.calls)
			}
			wantRange(t, l, c.first, c.last)
			left := uint64(0)
			for i := uint64(1); i <= 1000; i++ {
				if i >= c.low && i <= c.high {
					if err := l.GetLog(i, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
						t.Fatalf("entry %d: %v", i, err)
					}
					continue
				}
				wantEntry(t, l, entry(i, 100))
				left++
			}
			if want := left * 164; l.Bytes() != want {
				t.Errorf("%d bytes, want %d", l.Bytes(), want)
			}
		})
	}
}

func TestDeleteJumpsOverGaps(t *testing.T) {
	g := &gated{}
	l := open(t, t.TempDir(), wrap(g)).Log()
	// After a snapshot was installed the log goes on far beyond its old end.
	must(t, l.StoreLogs(entries(1, 10, 10)))
	must(t, l.StoreLogs(entries(1<<40, 1<<40+10, 10)))
	g.calls = make(chan string, 10)
	must(t, l.DeleteRange(1, 1<<40+5))
	wantRange(t, l, 1<<40+6, 1<<40+10)
	must(t, l.StoreLogs(entries(1<<50, 1<<50+3, 10)))
	must(t, l.DeleteRange(1<<40+8, 1<<50+3))
	wantRange(t, l, 1<<40+6, 1<<40+7)
	if n := len(g.calls); n > 8 {
		t.Errorf("%d writes", n)
	}
}

func TestCacheIsBoundedByBytes(t *testing.T) {
	l := open(t, t.TempDir(), func(o *Options) { o.LogCacheBytes = 100_000 }).Log()
	must(t, l.StoreLogs(entries(1, 100, 10_000)))
	if n := len(l.cache.entries); n == 0 || l.cache.bytes > 100_000 {
		t.Fatalf("%d entries, %d bytes in memory", n, l.cache.bytes)
	}
	if first := l.cache.entries[0].Index; first != 92 {
		t.Errorf("memory begins at %d, want the newest nine", first)
	}
	for i := uint64(1); i <= 100; i++ {
		wantEntry(t, l, entry(i, 10_000))
	}
	must(t, l.StoreLog(entry(101, 200_000)))
	if l.cache.bytes != 0 {
		t.Errorf("an entry beyond the bound is in memory: %d bytes", l.cache.bytes)
	}
	wantEntry(t, l, entry(101, 200_000))
}

// Whatever is written or deleted, and whatever fails, a read through the cache returns what the disk holds.
func TestCacheNeverDiffersFromDisk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path, err := os.MkdirTemp(t.TempDir(), "")
		must(t, err)
		g := &gated{}
		d := open(t, path, wrap(g), func(o *Options) { o.LogCacheBytes = 3000 })
		defer d.Close()
		l := d.Log()
		next, version, unknown := uint64(1), byte(0), false
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			g.fail, g.late = nil, nil
			if rapid.IntRange(0, 4).Draw(rt, "fails") == 0 {
				g.fail = errors.New("injected")
			} else if rapid.IntRange(0, 9).Draw(rt, "fails late") == 0 {
				g.late = errors.New("injected")
			}
			from := uint64(rapid.IntRange(max(1, int(next)-12), int(next)+3).Draw(rt, "from"))
			n := uint64(rapid.IntRange(0, 12).Draw(rt, "n"))
			if rapid.Bool().Draw(rt, "store") {
				version++
				var logs []*raft.Log
				for i := from; i < from+n; i++ {
					size := rapid.IntRange(0, 900).Draw(rt, "size")
					logs = append(logs, &raft.Log{Index: i, Data: bytes.Repeat([]byte{version}, size)})
				}
				err := l.StoreLogs(logs)
				unknown = unknown || err != nil && g.fail == nil
				if g.fail == nil {
					next = max(next, from+n)
				}
			} else {
				_ = l.DeleteRange(from, from+n)
			}
			var bytesHeld uint64
			for i := uint64(1); i < next+20; i++ {
				var cached, disk raft.Log
				cerr, derr := l.GetLog(i, &cached), l.disk.GetLog(i, &disk)
				if !errors.Is(cerr, derr) || !bytes.Equal(cached.Data, disk.Data) || cached.Index != disk.Index {
					rt.Fatalf("entry %d: cache %v %v, disk %v %v", i, cached.Index, cerr, disk.Index, derr)
				}
				if derr == nil {
					bytesHeld += uint64(entrySize(&disk))
				}
			}
			if l.Bytes() != bytesHeld && !unknown {
				rt.Fatalf("Bytes %d, held %d", l.Bytes(), bytesHeld)
			}
			var sum int64
			for i := range l.cache.entries {
				sum += entrySize(&l.cache.entries[i])
			}
			if l.cache.bytes != sum || sum > 3000 {
				rt.Fatalf("cache counts %d bytes, holds %d", l.cache.bytes, sum)
			}
		}
	})
}

func TestWritingSeesAStalledDisk(t *testing.T) {
	g := &gated{hold: make(chan struct{}), calls: make(chan string, 10)}
	l := open(t, t.TempDir(), wrap(g)).Log()
	if w := l.Writing(); w != 0 {
		t.Fatalf("idle: %v", w)
	}
	var wg sync.WaitGroup
	wg.Go(func() { must(t, l.StoreLog(entry(1, 1))) })
	<-g.calls
	wg.Go(func() { must(t, l.Set([]byte("k"), []byte("v"))) })
	<-g.calls
	// A second append, which waits for the lock that the first one holds, counts too.
	wg.Go(func() { must(t, l.StoreLog(entry(2, 1))) })
	eventually(t, "the stall shows", func() bool { return l.Writing() > 20*time.Millisecond })
	a := l.Writing()
	eventually(t, "the stall grows", func() bool { return l.Writing() > a })
	if _, err := l.LastIndex(); err != nil {
		t.Fatal(err)
	}
	close(g.hold)
	wg.Wait()
	if w := l.Writing(); w != 0 {
		t.Fatalf("idle again: %v", w)
	}
	g.fail = errors.New("injected")
	if err := l.StoreLog(entry(3, 1)); !errors.Is(err, g.fail) || l.Writing() != 0 {
		t.Fatalf("failed write: %v, writing %v", err, l.Writing())
	}
	// A failure in the store above the disk does not stop the disk.
	g.fail = nil
	must(t, l.StoreLog(entry(3, 1)))
}

func TestPendingReportsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPending()
		first := p.begin()
		var ends []func()
		for range 200 { // more than there are slots
			time.Sleep(time.Second) // of the bubble's clock: no time passes
			ends = append(ends, p.begin())
		}
		if got := p.oldest(); got != 200*time.Second {
			t.Errorf("oldest is %v", got)
		}
		first()
		if got := p.oldest(); got != 199*time.Second {
			t.Errorf("then oldest is %v", got)
		}
		for _, end := range ends {
			end()
		}
		if got := p.oldest(); got != 0 {
			t.Errorf("still pending for %v", got)
		}
	})
}

func TestFreezeDuringAStalledWrite(t *testing.T) {
	g := &gated{hold: make(chan struct{}), calls: make(chan string, 10)}
	path := t.TempDir()
	d := open(t, path, wrap(g))
	var wg sync.WaitGroup
	wg.Go(func() { wantErr(t, d.Log().StoreLog(entry(1, 1)), ErrFrozen) })
	<-g.calls
	d.Freeze() // does not wait for the disk
	close(g.hold)
	wg.Wait()
	closeDir(t, d)
	wantRange(t, open(t, path).Log(), 0, 0)
}

func TestAFailedDiskTakesNoMoreWrites(t *testing.T) {
	l := open(t, t.TempDir()).Log()
	must(t, l.StoreLog(entry(1, 1)))
	broken := errors.New("input/output error")
	if err := l.disk.write(func() error { return broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	for _, err := range []error{l.StoreLog(entry(2, 1)), l.SetUint64([]byte("CurrentTerm"), 2), l.DeleteRange(1, 1)} {
		wantErr(t, err, broken, "started again")
	}
	wantEntry(t, l, entry(1, 1))
}

func TestLogConcurrently(t *testing.T) {
	l := open(t, t.TempDir(), func(o *Options) { o.LogCacheBytes = 20_000 }).Log()
	var wg sync.WaitGroup
	const total = 2000
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				last, err := l.LastIndex()
				must(t, err)
				first, err := l.FirstIndex()
				must(t, err)
				if last == 0 {
					continue
				}
				var e raft.Log
				i := first + rand.Uint64N(last-first+1)
				if err := l.GetLog(i, &e); err == nil && (e.Index != i || len(e.Data) != 200) {
					t.Errorf("entry %d read as %d", i, e.Index)
				} else if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
					t.Errorf("entry %d: %v", i, err)
				}
				l.Writing()
				l.Bytes()
			}
		})
	}
	deleted := make(chan uint64, total)
	wg.Go(func() {
		for high := range deleted {
			must(t, l.DeleteRange(1, high))
		}
	})
	for i := uint64(1); i <= total; i += 20 {
		must(t, l.StoreLogs(entries(i, i+19, 200)))
		if i > 400 && i%100 == 1 {
			deleted <- i - 400
		}
	}
	close(deleted)
	close(done)
	wg.Wait()
	for i := uint64(1501 + 1); i <= total; i++ {
		wantEntry(t, l, entry(i, 200))
	}
}

func TestFileDoesNotGrowForEver(t *testing.T) {
	path := t.TempDir()
	l := open(t, path).Log()
	next := uint64(1)
	round := func() {
		for range 8 {
			must(t, l.StoreLogs(entries(next, next+63, 1000)))
			next += 64
		}
		must(t, l.DeleteRange(1, next-65))
	}
	round()
	round()
	size := logFileBytes(t, path)
	for range 6 {
		round()
	}
	if n := logFileBytes(t, path); n != size {
		t.Errorf("%d bytes after two rounds, %d after eight", size, n)
	}
	if got, want := l.Bytes(), uint64(64*1064); got != want {
		t.Errorf("holds %d bytes, want %d", got, want)
	}
}

func BenchmarkStoreLogs(b *testing.B) {
	for _, n := range []uint64{1, 64} {
		logs := entries(1, n, 4096)
		run := func(store func([]*raft.Log) error) func(*testing.B) {
			return func(b *testing.B) {
				next := uint64(1)
				b.SetBytes(int64(n) * 4096)
				for b.Loop() {
					for _, l := range logs {
						l.Index = next
						next++
					}
					must(b, store(logs))
				}
			}
		}
		d := open(b, b.TempDir())
		b.Run(fmt.Sprintf("store/%d", n), run(d.Log().StoreLogs))
		bare, err := openDisk(filepath.Join(b.TempDir(), logName), false, new(gate), func(*raft.Log) {})
		must(b, err)
		b.Run(fmt.Sprintf("bare/%d", n), run(bare.BoltStore.StoreLogs))
		bare.Close()
	}
}

// logFileBytes is the size of the log's database file in a data directory, free pages included.
func logFileBytes(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(filepath.Join(path, logName))
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}
