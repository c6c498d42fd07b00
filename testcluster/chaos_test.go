package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"scaleout/testcluster"
)

// One seed of each kind: an odd seed injects faults into masters of this process, an even one into masters that are
// processes.
var chaosSeeds = []uint64{1, 2}

// Seeds that found a fault; a long run begins with them. 21: a follower whose full disk could not take what was to
// replace the end of its log; 1795403008899282057: a replaced master was kept out for a blob that its predecessor had
// held.
var keptSeeds = []uint64{21, 1795403008899282057}

// TestChaos injects random faults under load. SCALEOUT_CHAOS=1h runs new seeds for an hour. SCALEOUT_CHAOS_SEED=n
// replays one seed. SCALEOUT_CHAOS_LENGTH is the length of such a walk, by default a minute.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	long := time.Minute
	if text := os.Getenv("SCALEOUT_CHAOS_LENGTH"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("SCALEOUT_CHAOS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) { chaos(t, seed, long) })
		return
	}
	if text := os.Getenv("SCALEOUT_CHAOS"); text != "" {
		length, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(length)
		kept := keptSeeds
		for fresh := uint64(time.Now().UnixNano()); time.Now().Before(end) && !t.Failed(); fresh++ {
			seed := fresh
			if len(kept) > 0 {
				seed, kept = kept[0], kept[1:]
			}
			t.Run(fmt.Sprint(seed), func(t *testing.T) { chaos(t, seed, long) })
		}
		return
	}
	for _, seed := range chaosSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chaos(t, seed, 10*time.Second)
		})
	}
}

// chaos injects faults, several at a time and under load, into a cluster of three masters and two workers. It checks
// the promises meanwhile and at the end.
func chaos(t *testing.T, seed uint64, length time.Duration) {
	clocks, clock := testcluster.Clocks()
	// The default timing: with shorter times a busy machine moves leadership by itself, and each move renews every lease.
	options := []testcluster.Option{testcluster.Profile("lan")}
	if seed%2 == 0 {
		options = append(options, testcluster.Processes())
	} else {
		options = append(options, clocks)
	}
	c := testcluster.Start(t, 3, options...)
	c.DeployFile("Chaos", "Chaos", c.Pack(chaosDefinition, map[string]string{"work.sh": work}))
	var workers []*testcluster.Worker
	for range 2 {
		workers = append(workers, c.Worker(testcluster.WorkerConfig{Process: true, Cuttable: true, MaxTaskCount: 6}))
	}
	load := &chaosLoad{c: c, out: t.TempDir()}
	watch := newWatch(c, load)
	late := newLateWorker(t, c, watch)
	participants := []participant{load, newForgingWorker(t, c), late, newRecordedLoad(t, c, seed), watch}
	for _, p := range participants {
		p.begin()
	}
	nemesis := testcluster.NewNemesis(c, seed, clock, workers...)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	nemesis.Walk(ctx)
	t.Logf("seed %d\n%s", seed, nemesis.Events())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the choices were\n%s", nemesis.Choices())
		}
	})
	late.over.Store(true) // the test would only have to wait for what it takes from now on
	c.Heal()
	c.Leader()
	for _, p := range participants {
		p.end(t)
	}
}

// participant does something during a walk and checks it afterwards. Its end is called after all faults are healed.
type participant interface {
	begin()
	end(t *testing.T)
}

// loop is a goroutine that repeats something until it is stopped.
type loop struct {
	stop context.CancelFunc
	done chan struct{}
}

// run calls f again and again, with pauses. The context of f ends with the loop.
func (l *loop) run(pause time.Duration, f func(ctx context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.done = stop, make(chan struct{})
	go func() {
		defer close(l.done)
		for ctx.Err() == nil {
			f(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}()
}

func (l *loop) wait() {
	l.stop()
	<-l.done
}
