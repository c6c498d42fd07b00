package blobs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/blobs"
	_ "scaleout/fsm/catalog" // the kinds of commands, and which blob each names
	"scaleout/fsm/command"
)

// log counts what reaches it.
type log struct{ proposed int }

func (l *log) Propose(context.Context, command.Envelope) (command.Result, uint64, error) {
	l.proposed++
	return command.Result{}, 7, nil
}

func TestACommandWaitsForTheBlobThatItNames(t *testing.T) {
	here := sum("segment")
	for _, c := range []struct {
		name string
		cmd  command.Command
		cut  []string
		want error // nil: it reaches the log
	}{
		{"names none", &command.CreateFolder{Name: "F"}, []string{"b", "c"}, nil},
		{"a majority holds it", &command.AppendMessages{Segment: here}, []string{"c"}, nil},
		{"too few hold it", &command.AppendMessages{Segment: here}, []string{"b", "c"}, command.ErrNoMajority},
		{"nobody has it", &command.AppendMessages{Segment: sum("another")}, nil, command.ErrNoBlob},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := start(t, []string{"a", "b", "c"}, nil, time.Hour)
			if _, err := cluster.disks["a"].Put(t.Context(), here, strings.NewReader("segment"), 0); err != nil {
				t.Fatal(err)
			}
			cluster.cutOff(c.cut...)
			env, err := command.Wrap(c.cmd)
			if err != nil {
				t.Fatal(err)
			}
			var l log
			_, index, err := blobs.Proposer{Keeper: cluster.keepers["a"], Log: &l}.Propose(t.Context(), env)
			if !errors.Is(err, c.want) || (c.want == nil) != (l.proposed == 1) || (c.want == nil) != (index == 7) {
				t.Errorf("%v, index %d, %d proposed; want %v", err, index, l.proposed, c.want)
			}
		})
	}
}

func TestConfirmTellsTheSizeOnceAMajorityHoldsTheBlob(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, nil, time.Hour)
	if _, err := c.disks["b"].Put(t.Context(), sum("project"), strings.NewReader("project"), 0); err != nil {
		t.Fatal(err)
	}
	c.cutOff("c")
	if size, err := c.keepers["a"].Confirm(t.Context(), sum("project")); err != nil || size != 7 {
		t.Errorf("%d, %v", size, err)
	}
	if !c.disks["a"].Has(sum("project")) {
		t.Error("confirmed by two of three, of which this one lacks it")
	}
	if _, err := c.keepers["a"].Confirm(t.Context(), sum("another")); !errors.Is(err, command.ErrNoBlob) {
		t.Errorf("%v, want ErrNoBlob", err)
	}
}
