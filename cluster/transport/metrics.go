package transport

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	conns   *prometheus.GaugeVec
	refuses *prometheus.CounterVec
	dials   *prometheus.CounterVec
	renewed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		conns: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "scaleout_transport_connections",
			Help: "Open connections by protocol and direction.",
		}, []string{"protocol", "direction"}),
		refuses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scaleout_transport_refused_total",
			Help: "Inbound connections that were refused or closed for others, by reason; for a limit, the setting's name.",
		}, []string{"reason"}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scaleout_transport_dial_failures_total",
			Help: "Connections to other masters that did not come up, by protocol.",
		}, []string{"protocol"}),
		renewed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scaleout_transport_retired_total",
			Help: "Connections closed because the certificates had changed.",
		}),
	}
	for _, setting := range []string{LimitHandshakes, LimitConnections, LimitPerCertificate, LimitStrangers,
		LimitPerAddress} {
		m.refuses.WithLabelValues(setting)
	}
	for _, reason := range []string{"tls", "certificate", "wrong_cluster", "wrong_node", "busy", "preamble", "not_ready",
		"timeout"} {
		m.refuses.WithLabelValues(reason)
	}
	for _, p := range []proto{protoRaft, protoPeer} {
		m.dials.WithLabelValues(string(p))
		m.conns.WithLabelValues(string(p), "out")
		m.conns.WithLabelValues(string(p), "in")
	}
	m.conns.WithLabelValues(string(protoHTTP), "in")
	m.conns.WithLabelValues(string(protoNone), "in")
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.conns, m.refuses, m.dials, m.renewed} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("transport: register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) open(p proto, inbound bool, d int) {
	direction := "out"
	if inbound {
		direction = "in"
	}
	m.conns.WithLabelValues(string(p), direction).Add(float64(d))
}

func (m *metrics) refuse(reason string) { m.refuses.WithLabelValues(reason).Inc() }
func (m *metrics) dialFailed(p proto)   { m.dials.WithLabelValues(string(p)).Inc() }
func (m *metrics) retired()             { m.renewed.Inc() }
