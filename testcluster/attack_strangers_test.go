package testcluster_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/testcluster"
)

// strangersAttacks are the attacks that need only access to the ports, or any certificate.
var strangersAttacks = []attack{
	{name: "bodies that never come", attack: bodiesThatNeverCome, least: 300},
	{name: "heads that never end", attack: headsThatNeverEnd, least: 300},
	{name: "heads of many lines", attack: headsOfManyLines, least: 200},
	{name: "heads of many lines under one certificate", prepare: leastPrivileged, attack: headsOfManyLines, least: 300},
	{name: "calls without end of strangers", attack: strangersCalls, least: 1000},
	{name: "silent connections", attack: silentConnections, least: 300},
	{name: "silent connections from everywhere", attack: silentFromEverywhere, least: 300},
	{name: "handshakes that stop half way", attack: halfHandshakes, least: 300},
	{name: "handshakes without end", attack: handshakesWithoutEnd, least: 100},
	{name: "answers that nobody reads", attack: unreadAnswers, least: 50},
	{name: "gossip of 20 MiB", prepare: clusterID, attack: largeGossip, least: 60},
	{name: "gossip garbage", prepare: clusterID, attack: gossipGarbage, least: 1000, after: fewLines},
	{name: "a rush of honest workers", prepare: hundredWorkers, attack: rushOfWorkers, least: rush},
	{name: "connections of one certificate", prepare: leastPrivileged, attack: connectionsOfOneCertificate, least: 100},
}

// bodiesThatNeverCome announces bodies and does not send them.
func bodiesThatNeverCome(ctx context.Context, x *attacker) error {
	return x.many(ctx, 1500, func(ctx context.Context, i int) error {
		c, err := x.tls(ctx, x.master(i), "")
		if err != nil {
			return err
		}
		x.did.Add(1)
		if _, err := io.WriteString(c,
			"POST /v1/catalog/procedures/create_folder HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"); err != nil {
			return err
		}
		hold(ctx, c, time.Minute)
		return errTurnedAway
	})
}

// headsThatNeverEnd sends one header line per second.
func headsThatNeverEnd(ctx context.Context, x *attacker) error {
	return x.many(ctx, 1500, func(ctx context.Context, i int) error {
		c, err := x.tls(ctx, x.master(i), "")
		if err != nil {
			return err
		}
		defer c.Close()
		x.did.Add(1)
		_, err = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\n")
		for err == nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			_, err = io.WriteString(c, "X-More: x\r\n")
		}
		return errTurnedAway
	})
}

// headsOfManyLines makes the masters keep as much of a head as they accept, in the form that takes the most memory.
func headsOfManyLines(ctx context.Context, x *attacker) error {
	head := []byte("GET /livez HTTP/1.1\r\nHost: x\r\n")
	for i := 0; len(head) < 12_000; i++ { // net/http accepts 4 KiB more than the bound
		head = fmt.Appendf(head, "%03x:\r\n", i)
	}
	return x.many(ctx, 1800, func(ctx context.Context, i int) error {
		c, err := x.tlsFrom(ctx, fmt.Sprintf("127.0.1.%d", 1+i/len(x.Masters)%100), x.master(i), x.Args["certificate"])
		if err != nil {
			return err
		}
		x.did.Add(1)
		if _, err := c.Write(head); err != nil {
			return err
		}
		hold(ctx, c, time.Minute)
		return errTurnedAway
	})
}

// strangersCalls makes the calls that need no certificate, from many addresses, without waiting for the answers.
func strangersCalls(ctx context.Context, x *attacker) error {
	calls := bytes.Repeat([]byte("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"), 200)
	return x.many(ctx, 180, func(ctx context.Context, i int) error {
		c, err := x.tlsFrom(ctx, fmt.Sprintf("127.0.3.%d", 1+i/len(x.Masters)%60), x.master(i), "")
		if err != nil {
			return err
		}
		defer c.Close()
		go hold(ctx, c, time.Minute)
		for ctx.Err() == nil {
			_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			if _, err := c.Write(calls); err != nil {
				return err
			}
			x.did.Add(200)
		}
		return nil
	})
}

// silentConnections opens at least 500 connections per second and sends nothing on them.
func silentConnections(ctx context.Context, x *attacker) error {
	return x.many(ctx, 2000, func(ctx context.Context, i int) error {
		c, err := x.dial(ctx, x.master(i))
		if err != nil {
			return err
		}
		x.did.Add(1)
		hold(ctx, c, time.Minute)
		return nil
	})
}

func silentFromEverywhere(ctx context.Context, x *attacker) error {
	return x.many(ctx, 2000, func(ctx context.Context, i int) error {
		from := fmt.Sprintf("127.%d.%d.%d", 1+i%200, i/200%250, 1+i/50_000%250)
		c, err := x.dialFrom(ctx, from, x.master(i))
		if err != nil {
			return err
		}
		x.did.Add(1)
		hold(ctx, c, time.Minute)
		return nil
	})
}

// halfHandshakes makes the masters compute their part of a handshake and never sends its own.
func halfHandshakes(ctx context.Context, x *attacker) error {
	hello, err := clientHello()
	if err != nil {
		return err
	}
	return x.many(ctx, 2000, func(ctx context.Context, i int) error {
		c, err := x.dial(ctx, x.master(i))
		if err != nil {
			return err
		}
		x.did.Add(1)
		_, _ = c.Write(hello)
		hold(ctx, c, time.Minute)
		return nil
	})
}

// clientHello is the first flight of a handshake.
func clientHello() ([]byte, error) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() {
		c := newClientTLS(near)
		_ = c.Handshake()
	}()
	_ = far.SetReadDeadline(time.Now().Add(10 * time.Second))
	head := make([]byte, 5)
	if _, err := io.ReadFull(far, head); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(far, body); err != nil {
		return nil, err
	}
	return append(head, body...), nil
}

// handshakesWithoutEnd makes complete handshakes as fast as it can.
func handshakesWithoutEnd(ctx context.Context, x *attacker) error {
	return x.many(ctx, 200, func(ctx context.Context, i int) error {
		c, err := x.tls(ctx, x.master(i), "")
		if err != nil {
			return err
		}
		x.did.Add(1)
		return c.Close()
	})
}

// unreadAnswers sends requests on one connection without reading the answers.
func unreadAnswers(ctx context.Context, x *attacker) error {
	return x.many(ctx, 500, func(ctx context.Context, i int) error {
		c, err := x.tls(ctx, x.master(i), "")
		if err != nil {
			return err
		}
		defer c.Close()
		x.did.Add(1)
		for range 20_000 {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := io.WriteString(c, "GET /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		return nil
	})
}

// leastPrivileged issues the certificate of a user without any role.
func leastPrivileged(t *testing.T, c *testcluster.Cluster) map[string]string {
	t.Helper()
	return map[string]string{"certificate": c.Folder(pki.RoleUser, "nobody-special")}
}

// connectionsOfOneCertificate opens as many connections as it can with one certificate, and sends a call on each.
func connectionsOfOneCertificate(ctx context.Context, x *attacker) error {
	return x.many(ctx, 4500, func(ctx context.Context, i int) error {
		c, err := x.tls(ctx, x.master(i), x.Args["certificate"])
		if err != nil {
			return err
		}
		x.did.Add(1)
		if _, err := io.WriteString(c, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		hold(ctx, c, time.Minute)
		return errTurnedAway
	})
}

// clusterID returns the cluster's id, which labels gossip. Everybody can read it from a master's certificate.
func clusterID(t *testing.T, c *testcluster.Cluster) map[string]string {
	t.Helper()
	return map[string]string{"label": c.Authority().ClusterID()}
}

// labelled returns the beginning of a gossip stream or packet.
func (x *attacker) labelled() []byte {
	label := x.Args["label"]
	return append([]byte{244, byte(len(label))}, label...)
}

// largeGossip announces an encrypted message of 20 MiB on each connection and sends it.
func largeGossip(ctx context.Context, x *attacker) error {
	head := binary.BigEndian.AppendUint32(append(x.labelled(), 10), 20<<20-1)
	block := make([]byte, 64<<10)
	return x.many(ctx, 120, func(ctx context.Context, i int) error {
		c, err := x.dial(ctx, x.Gossip[i%len(x.Gossip)])
		if err != nil {
			return err
		}
		defer c.Close()
		x.did.Add(1)
		_, err = c.Write(head)
		for range 319 {
			if err != nil || ctx.Err() != nil {
				return err
			}
			_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			_, err = c.Write(block)
		}
		hold(ctx, c, 10*time.Second)
		return err
	})
}

// gossipGarbage sends some thousand packets per second that no key can decrypt.
func gossipGarbage(ctx context.Context, x *attacker) error {
	packets := [][]byte{{}, {0}, {244, 200, 1}, append(x.labelled(), make([]byte, 1000)...),
		[]byte("GET / HTTP/1.1\r\n\r\n")}
	return x.many(ctx, 3, func(ctx context.Context, i int) error {
		c, err := net.Dial("udp", x.Gossip[i%len(x.Gossip)])
		if err != nil {
			return err
		}
		defer c.Close()
		for ctx.Err() == nil {
			for _, p := range packets {
				if _, err := c.Write(p); err == nil {
					x.did.Add(1)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
		return nil
	})
}

// fewLines checks that strangers did not fill a master's log.
func fewLines(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.Dir(), "test.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(raw, []byte("gossip: ")); n > 2000 {
		t.Errorf("%d lines about gossip", n)
	}
}

// rush is how many workers reconnect at once after a network partition. They share a hundred certificates. They are
// honest: each of them must get in, and the other callers keep their bounds meanwhile.
const rush = 5000

func hundredWorkers(t *testing.T, c *testcluster.Cluster) map[string]string {
	t.Helper()
	args := map[string]string{}
	for i := range 100 {
		args[fmt.Sprint(i)] = c.Folder(pki.RoleWorker, fmt.Sprintf("rush-%d", i))
	}
	return args
}

func rushOfWorkers(ctx context.Context, x *attacker) error {
	// The attack lasts until all are in, and at most a minute.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for i := range rush {
		group.Go(func() {
			for ctx.Err() == nil {
				if x.getsIn(ctx, x.master(i), x.Args[fmt.Sprint(i%100)]) {
					if x.did.Add(1) == rush {
						cancel()
					}
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(500*time.Millisecond + rand.N(time.Second)):
				}
			}
		})
	}
	group.Wait()
	return nil
}

// getsIn connects as a worker, makes one call and keeps the connection until the end.
func (x *attacker) getsIn(ctx context.Context, addr, folder string) bool {
	c, err := x.tls(ctx, addr, folder)
	if err != nil {
		return false
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	buf := make([]byte, 12)
	if _, err := io.ReadFull(c, buf); err != nil {
		return false
	}
	return string(buf) == "HTTP/1.1 200"
}
