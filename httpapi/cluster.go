package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/httpapi/wire"
)

func (a *API) statusLeader(w http.ResponseWriter, _ *request) error {
	place := a.cfg.Member.Place()
	if !place.Known {
		return fmt.Errorf("%w, as far as %s knows", command.ErrNoLeader, a.cfg.Member.Name())
	}
	return answer(w, http.StatusOK, place.Leader)
}

func (a *API) statusPeers(w http.ResponseWriter, _ *request) error {
	return answer(w, http.StatusOK, wire.Peers(filled(a.cfg.Cluster.Peers())))
}

func (a *API) isLeader(w http.ResponseWriter, _ *request) error {
	if a.cfg.Member.Place().Here {
		return plain(w, http.StatusOK, "leader\n")
	}
	return plain(w, http.StatusServiceUnavailable, "not the leader\n")
}

func (a *API) livez(w http.ResponseWriter, _ *request) error {
	return plain(w, http.StatusOK, "ok\n")
}

func (a *API) readyz(w http.ResponseWriter, r *request) error {
	out := wire.Ready{Ready: true, Checks: filled(a.cfg.Ready(r.Context()))}
	status, text := http.StatusOK, "ready\n"
	for _, c := range out.Checks {
		if !c.OK {
			out.Ready, status, text = false, http.StatusServiceUnavailable, "not ready\n"
		}
	}
	if r.URL.Query().Has("verbose") {
		return answer(w, status, out)
	}
	return plain(w, status, text)
}

func plain(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
	return nil
}

func (a *API) prometheus(w http.ResponseWriter, r *request) error {
	options := promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn)}
	promhttp.HandlerFor(a.cfg.Gatherer, options).ServeHTTP(w, r.Request)
	return nil
}

func (a *API) describeItself(w http.ResponseWriter, _ *request) error {
	return answerRaw(w, http.StatusOK, a.openapi)
}

func (a *API) cluster(w http.ResponseWriter, r *request) error {
	local, err := staleRead(r.URL.Query())
	if err != nil {
		return err
	}
	if !local {
		if err := a.service.Prove(r.Context()); err != nil {
			return err
		}
	}
	s, err := a.cfg.Cluster.Status(r.Context())
	if err != nil {
		return err
	}
	s.Members, s.Warnings, s.Settings = filled(s.Members), filled(s.Warnings), filled(s.Settings)
	w.Header().Set(wire.HeaderIndex, strconv.FormatUint(s.Index, 10))
	return answer(w, http.StatusOK, s)
}

// transfer answers with the new leader once this node knows it.
func (a *API) transfer(w http.ResponseWriter, r *request) error {
	var in wire.Transfer
	if len(r.body) > 0 {
		if err := r.decode(&in); err != nil {
			return err
		}
	}
	a.log.LogAttrs(r.Context(), slog.LevelInfo, "transfer of leadership asked for",
		slog.String(logkey.To, in.To), slog.String(logkey.Caller, r.caller.Name))
	if err := a.cfg.Cluster.Transfer(r.Context(), in.To); err != nil {
		return err
	}
	for {
		changed := a.cfg.Member.Changed()
		if place := a.cfg.Member.Place(); place.Known && place.Leader.ID != a.cfg.Member.ID() {
			return answer(w, http.StatusOK, place.Leader)
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return fmt.Errorf("%w: leadership was given up, but no new leader is known yet", context.Cause(r.Context()))
		}
	}
}

func (a *API) removeMember(w http.ResponseWriter, r *request) error {
	id, err := r.name("id")
	if err != nil {
		return err
	}
	force, err := r.boolean("force", false)
	if err != nil {
		return err
	}
	a.log.LogAttrs(r.Context(), slog.LevelWarn, "removal of a master asked for",
		slog.String(logkey.MasterID, id), slog.Bool(logkey.Forced, force), slog.String(logkey.Caller, r.caller.Name))
	if err := a.cfg.Cluster.Remove(r.Context(), id, force); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) stateHash(w http.ResponseWriter, r *request) error {
	var want uint64
	if s := r.URL.Query().Get("index"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n == 0 {
			return invalid("index: %.64q; a number from 1 was expected", s)
		}
		want = n
	}
	var out wire.StateHash
	var err error
	if out.Index, out.Hash, err = a.service.StateHash(r.Context(), want); err != nil {
		return err
	}
	w.Header().Set(wire.HeaderIndex, strconv.FormatUint(out.Index, 10))
	return answer(w, http.StatusOK, out)
}
