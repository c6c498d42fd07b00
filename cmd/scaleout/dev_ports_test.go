package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"scaleout/testcluster"
)

// freeLayout is a small cluster on ports that are free.
func freeLayout(t *testing.T) layout {
	t.Helper()
	const masters = 3 // each with a port for HTTPS and one for gossip
	return layout{dir: t.TempDir(), Masters: masters, Workers: 1, Port: testcluster.FreePorts(t, 2*masters)}
}

func TestTakenPortsAreNamedBeforeAnythingStarts(t *testing.T) {
	l := freeLayout(t)
	if err := l.portsFree(); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", l.httpsPort(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", l.gossipPort(2)))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, verb := range []string{"dev", "demo"} {
		t.Run(verb, func(t *testing.T) {
			code, _, errs := execute(t, verb, "--port", fmt.Sprint(l.Port), "--data", l.dir)
			if code != exitError {
				t.Errorf("exit %d", code)
			}
			for _, want := range []string{
				fmt.Sprintf("TCP %d (HTTPS of master-2)", l.httpsPort(1)), fmt.Sprintf("UDP %d (gossip of master-3)", l.gossipPort(2)), "--port",
			} {
				if !strings.Contains(errs, want) {
					t.Errorf("%q is missing in\n%s", want, errs)
				}
			}
			if strings.Contains(errs, "master-1)") {
				t.Errorf("a free port is named:\n%s", errs)
			}
			if files, err := os.ReadDir(l.home("master-1")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was prepared: %v, %v", files, err)
			}
		})
	}
}
