package guard

import (
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"

	"scaleout/cmd/worker/logger"
)

// The parent-death signal follows the thread that started the child. A start from a goroutine that ends while it is
// locked to its thread, or from a thread that Go then ends, kills the package at once.
func TestPackageOutlivesThreads(t *testing.T) {
	tr, err := newTree(logger.New(slog.Default()), false)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := tr.start(Spec{Command: "/bin/sleep", Args: []string{"60"}}, null, null); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		var wg sync.WaitGroup
		for range 20 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			}()
		}
		wg.Wait()
	}
	select {
	case <-tr.exited():
		code, sig := tr.result()
		t.Fatalf("the package died with a thread: %d %s", code, sig)
	default:
	}
	tr.terminate()
	<-tr.exited()
	if _, sig := tr.result(); sig != "SIGTERM" {
		t.Errorf("ended by %q", sig)
	}
}
