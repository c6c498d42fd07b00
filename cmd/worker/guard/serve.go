package guard

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"time"
)

const (
	opStatus = "status"
	opExtend = "extend"
	opStop   = "stop"
	opKill   = "kill"
	opWait   = "wait"
)

// serve answers the worker until the listener is closed. It may still run when the process ends. Only the answers to
// waiting calls matter then, and answerWaiters waits for those.
func (k *keeper) serve(l net.Listener, secret string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go k.handle(conn, secret)
	}
}

func (k *keeper) handle(conn net.Conn, secret string) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(answerTimeout))
	line, err := bufio.NewReader(io.LimitReader(conn, maxRequestSize)).ReadBytes('\n')
	if err != nil {
		return
	}
	var req request
	if json.Unmarshal(line, &req) != nil || !sameSecret(req.Secret, secret) {
		k.reply(conn, answer{Error: "wrong secret"})
		return
	}
	switch req.Op {
	case opStatus:
	case opExtend:
		k.extend(req.Lease)
	case opStop, opKill:
		select {
		case k.ops <- req.Op:
		case <-k.ended:
		case <-time.After(answerTimeout / 2): // the package is already being killed
		}
	case opWait:
		k.waiters.Add(1)
		defer k.waiters.Done()
		conn.SetDeadline(time.Time{})
		gone := make(chan struct{})
		go func() { conn.Read(make([]byte, 1)); close(gone) }()
		select {
		case <-k.ended:
		case <-gone:
			return
		}
		conn.SetDeadline(time.Now().Add(answerTimeout))
	default:
		k.reply(conn, answer{Error: "unknown operation " + req.Op})
		return
	}
	k.reply(conn, k.status())
}

func (k *keeper) reply(conn net.Conn, a answer) { json.NewEncoder(conn).Encode(a) }

func (k *keeper) status() answer {
	a := answer{Left: int64(k.left(k.clock())), Package: k.pid, Running: true}
	select {
	case <-k.ended:
		k.mu.Lock()
		e := k.exit
		k.mu.Unlock()
		a.Running, a.Exit = false, &e
	default:
	}
	return a
}

// extend takes a lease that ends later than the present one. An older lease that arrives late changes nothing: a
// renewal never shortens a lease.
func (k *keeper) extend(l Lease) {
	now := k.clock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.Left(now) > k.lease.Left(now) {
		k.lease = l
	}
}

// answerWaiters waits, for a bounded time, until the calls that wait for the package's end are answered.
func (k *keeper) answerWaiters() {
	done := make(chan struct{})
	go func() { k.waiters.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(answerTimeout):
	}
}
