package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/logkey"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/service"
)

// API is the HTTPS interface of one master.
type API struct {
	cfg      Config
	log      *slog.Logger
	router   *mux.Router
	forward  *forward.Forwarder
	service  *service.Service
	metrics  *metrics
	who      *identities
	quotas   *quotas
	openapi  []byte
	stopping context.Context // ends when this node is about to stop
	stop     context.CancelFunc
}

// New checks the configuration and builds the routes. It starts no goroutine.
func New(cfg Config) (*API, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	a := &API{
		cfg: cfg, log: cfg.Logger.With(slog.String(logkey.Component, "httpapi")),
		service: cfg.Service, who: newIdentities(cfg.Identify), quotas: newQuotas(cfg.Limits),
	}
	stopping, stop := context.WithCancel(context.Background())
	// In this order: a call that the service ends because of it finds this master stopping.
	a.stopping, a.stop = stopping, func() { stop(); a.service.Stop() }
	var err error
	if a.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, err
	}
	a.forward, err = forward.New(forward.Config{
		Self: cfg.Member.ID(), Name: cfg.Member.Name(), Where: cfg.Member.Place, Changed: cfg.Member.Changed,
		Stopping: cfg.Member.Stopping(), Transport: cfg.PeerTransport, URL: cfg.PeerURL, Outcome: outcomeOf, Hold: cfg.Hold,
		Logger: a.log, Registerer: cfg.Registerer,
	})
	if err != nil {
		return nil, err
	}
	routes := a.routes()
	if a.openapi, err = openAPI(cfg.Version); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	// Paths are matched as they were sent: an escaped slash belongs to a name, and nothing is ever redirected.
	a.router = mux.NewRouter().UseEncodedPath().SkipClean(true)
	for i := range routes {
		rt := &routes[i]
		a.router.Handle(rt.path, a.enter(rt)).Methods(methods(rt.method)...)
	}
	a.router.NotFoundHandler = a.enter(&route{name: "not_found", who: anyCertificate, here: always, handle: notFound})
	a.router.MethodNotAllowedHandler = a.enter(&route{
		name: "method_not_allowed", who: anyCertificate, here: always, handle: methodNotAllowed(routes),
	})
	return a, nil
}

// A GET route answers HEAD too; net/http leaves the body out.
func methods(m string) []string {
	if m == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{m}
}

// Handler serves every route. It is for both doors: the listener of users and workers, and that of the other masters.
func (a *API) Handler() http.Handler { return a.router }

// Run stops the service, which ends what it holds, once this node is about to stop. It returns when ctx ends.
func (a *API) Run(ctx context.Context) error {
	select {
	case <-a.cfg.Member.Stopping():
		a.stop()
		<-ctx.Done()
	case <-ctx.Done():
	}
	a.stop()
	return nil
}

type metrics struct {
	duration *prometheus.HistogramVec
	flight   *prometheus.GaugeVec
	refused  *prometheus.CounterVec
	limits   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "scaleout_http_request_duration_seconds",
			Help:    "Time from a request's head to the end of its answer. Held polls last as long as they are held.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route", "code"}),
		flight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "scaleout_http_requests_in_flight",
			Help: "Requests that are being served, held polls included.",
		}, []string{"route"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scaleout_http_refused_total",
			Help: "Requests refused for who sent them.",
		}, []string{"reason"}),
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scaleout_limit_reached_total",
			Help: "Calls refused with limit_reached, by the setting whose limit it was.",
		}, []string{"limit"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.duration, m.flight, m.refused, m.limits} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("httpapi: %w", err)
		}
	}
	return m, nil
}
