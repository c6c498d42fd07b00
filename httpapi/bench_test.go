package httpapi

import (
	"testing"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// BenchmarkExchange is what an exchange costs beside the leader's own work: TLS, identity, JSON; with one hop, twice.
func BenchmarkExchange(b *testing.B) {
	for name, node := range map[string]int{"leader": 0, "follower": 1} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, 2)
			c := w.client(worker1, node)
			req := wire.Exchange{Incarnation: "i", Slots: 4, Running: []wire.AttemptRef{{TaskID: 1, Attempt: 1},
				{TaskID: 2, Attempt: 1}}}
			b.ReportAllocs()
			for b.Loop() {
				req.Sequence++
				if _, _, err := c.Exchange(b.Context(), agent, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCall is what a call with a command costs beside Raft's work.
func BenchmarkCall(b *testing.B) {
	w := newWorld(b, 1)
	c := w.client(root, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(b.Context(), "enable_scaleout", nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkView is what an empty page costs.
func BenchmarkView(b *testing.B) {
	w := newWorld(b, 1)
	c := w.client(root, 0)
	for b.Loop() {
		if _, err := c.View(b.Context(), "folders", client.Query{}); err != nil {
			b.Fatal(err)
		}
	}
}
