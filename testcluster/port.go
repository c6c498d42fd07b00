package testcluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/gofrs/flock"
)

// Test ports are below those that the system gives to outgoing connections, since such a connection could occupy the
// port of a master that is down. They are split into ranges. Each test process locks one, so that the test of another
// package cannot take a port while its master is down.
const (
	firstPort  = 10_000
	portRange  = 2_000
	portRanges = 8
)

// ports is this process's range. Ports are given out in turn, so that a port is not reused soon: a stopped master comes
// back to its port.
var ports struct {
	sync.Mutex
	lock  *flock.Flock // held until this process ends
	first int
	next  int
}

// lockPorts locks a range that no other process has.
func lockPorts(tb testing.TB) {
	tb.Helper()
	for i := range portRanges {
		lock := flock.New(filepath.Join(os.TempDir(), fmt.Sprintf("scaleout-test-ports-%d.lock", i)))
		if ok, err := lock.TryLock(); err != nil {
			tb.Fatal(err)
		} else if ok {
			ports.lock = lock
			ports.first = firstPort + i*portRange
			return
		}
	}
	tb.Fatalf("%d other test processes have all ports", portRanges)
}

// FreePorts returns the first of n consecutive ports that are free for TCP and UDP. No other test gets them.
func FreePorts(tb testing.TB, n int) int {
	tb.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.lock == nil {
		lockPorts(tb)
	}
	free := 0
	for range 2 * portRange {
		if ports.next == portRange {
			ports.next, free = 0, 0
		}
		if free++; !portFree(ports.first + ports.next) {
			free = 0
		}
		ports.next++
		if free == n {
			return ports.first + ports.next - n
		}
	}
	tb.Fatalf("no %d free ports in a row among the %d from %d on", n, portRange, ports.first)
	return 0
}

func portFree(port int) bool {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return u.Close() == nil
}

func freePort(tb testing.TB) int {
	tb.Helper()
	return FreePorts(tb, 1)
}

// FreePort returns a port for a master that a test starts itself.
func (c *Cluster) FreePort() int { return freePort(c.tb) }
