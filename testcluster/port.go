package testcluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// ports that this process gave out. They stay taken: a master comes back to its port.
var ports = struct {
	sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

// freePort finds a port that is free for TCP and UDP. It lies below those that the system gives to outgoing
// connections: one of them could sit on the port of a master that is down.
func freePort(tb testing.TB) int {
	tb.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		port := 10_000 + rand.IntN(22_000)
		if ports.given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		l.Close()
		if err == nil {
			u.Close()
			ports.given[port] = true
			return port
		}
	}
	tb.Fatal("no free port")
	return 0
}

// FreePort is a port for a master that a test starts by hand.
func (c *Cluster) FreePort() int { return freePort(c.tb) }
