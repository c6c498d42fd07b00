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

// Ports for tests lie below those that the system gives to outgoing connections: one of them could sit on the port of a
// master that is down. They are cut into pieces of which each test process locks one, since a port that a master leaves
// for a moment must not be taken by the test of another package.
const (
	firstPort  = 10_000
	portPiece  = 2_000
	portPieces = 8
)

// ports is this process's piece. It is given out in turn, so that a port stays with its master for long: a master that
// was stopped comes back to its port.
var ports struct {
	sync.Mutex
	lock  *flock.Flock // held as long as this process lives
	first int
	next  int
}

// lockPorts finds a piece that no other process has.
func lockPorts(tb testing.TB) {
	tb.Helper()
	for i := range portPieces {
		lock := flock.New(filepath.Join(os.TempDir(), fmt.Sprintf("scaleout-test-ports-%d.lock", i)))
		if ok, err := lock.TryLock(); err != nil {
			tb.Fatal(err)
		} else if ok {
			ports.lock = lock
			ports.first = firstPort + i*portPiece
			return
		}
	}
	tb.Fatalf("%d other test processes have all ports", portPieces)
}

// FreePorts finds n ports in a row that are free for TCP and UDP, and returns the first one. No other test gets them.
func FreePorts(tb testing.TB, n int) int {
	tb.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.lock == nil {
		lockPorts(tb)
	}
	free := 0
	for range 2 * portPiece {
		if ports.next == portPiece {
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
	tb.Fatalf("no %d free ports in a row among the %d from %d on", n, portPiece, ports.first)
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

// FreePort is a port for a master that a test starts by hand.
func (c *Cluster) FreePort() int { return freePort(c.tb) }
