package service

import (
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
)

// TestMessagesAreOfTheWorkersOwnCertificate: messages are taken behind a proof, from the certificate that the worker is
// bound to, and handed on as they came.
func TestMessagesAreOfTheWorkersOwnCertificate(t *testing.T) {
	parts := []Part{{TaskID: 1, Attempt: 1, FirstSeq: 1, Messages: []Message{{Text: "a"}}}, {TaskID: 2, Attempt: 1}}
	for _, c := range []struct {
		name, certificate, worker string
		leads                     bool
		code                      string
		err                       error
	}{
		{name: "its own", certificate: "w", worker: fsmtest.WorkerOne, leads: true},
		{name: "another's", certificate: "v", worker: fsmtest.WorkerOne, leads: true, code: command.CodeAgentIDTaken},
		{name: "of no worker", certificate: "w", worker: fsmtest.WorkerTwo, leads: true,
			code: command.CodeWorkerNotRegistered},
		{name: "who does not lead refuses nothing", certificate: "v", worker: fsmtest.WorkerOne, err: command.ErrNotLeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &node{world: fsmtest.NewWorld(t), leads: c.leads}
			n.world.Register(fsmtest.WorkerOne, "w") // of a certificate of that name
			got, err := n.service(t).Messages(t.Context(), command.Caller{Kind: "worker", Name: c.certificate}, c.worker, parts)
			var no *command.Rejection
			taken := c.code == "" && c.err == nil
			switch {
			case c.code != "" && (!errors.As(err, &no) || no.Code != c.code), c.code == "" && !errors.Is(err, c.err):
				t.Errorf("answered %v", err)
			case n.proofs != 1 || taken != reflect.DeepEqual(n.taken, parts) || taken != (len(got) == len(parts)):
				t.Errorf("after %d proofs %v were taken, %v answered", n.proofs, n.taken, got)
			}
		})
	}
}

// TestAHeldPollEnds: with its time, or with an empty answer once the node stops.
func TestAHeldPollEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		stops time.Duration // 0: never
		took  time.Duration
		err   error
	}{
		{"with its time", 0, time.Minute + exchangeSlack, ErrTimeout},
		{"when the node stops", time.Second, time.Second, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &node{world: fsmtest.NewWorld(t), leads: true}
				s := n.service(t)
				if c.stops > 0 {
					time.AfterFunc(c.stops, s.Stop)
				}
				began := time.Now()
				got, err := s.Exchange(t.Context(), command.Poll{Worker: fsmtest.WorkerOne, Wait: time.Minute})
				if took := time.Since(began); !errors.Is(err, c.err) || took != c.took || len(got.Grants) != 0 {
					t.Errorf("answered %v %v after %v, want %v after %v", got, err, took, c.err, c.took)
				}
			})
		})
	}
}
