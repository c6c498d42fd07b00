package blobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"scaleout/fsm/logkey"
)

// maxAsked bounds the digests of one Missing request.
const maxAsked = 1000

// path is where Handler is mounted on the peer port.
const path = "/peer/blobs/"

// uploadedBy is the header that says who uploaded a pushed blob, URL-encoded.
const uploadedBy = "Scaleout-Uploaded-By"

// HTTP is Peers over the masters' own connections: a node id is the host of the URL.
type HTTP struct{ Client *http.Client }

var _ Peers = HTTP{}

type list struct {
	Digests []string `json:"digests"`
}

// Push implements Peers.
func (h HTTP) Push(ctx context.Context, node, digest, by string, size int64, open func() (io.ReadCloser, error)) error {
	body, err := open()
	if err != nil {
		return err
	}
	defer body.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+node+path+digest, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.GetBody = open
	if by != "" {
		req.Header.Set(uploadedBy, url.QueryEscape(by))
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return status(resp)
}

// Missing implements Peers.
func (h HTTP) Missing(ctx context.Context, node string, digests []string) ([]string, error) {
	raw, err := json.Marshal(list{digests})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+node+path+"missing", bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := status(resp); err != nil {
		return nil, err
	}
	var out list
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&out)
	return out.Digests, err
}

// Fetch implements Peers.
func (h HTTP) Fetch(ctx context.Context, node, digest string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+node+path+digest, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := status(resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

func status(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
}

// take stores a blob that a peer pushes, with the mark of who uploaded it, so that this node counts the same if it
// leads next.
func (k *Keeper) take(r *http.Request) error {
	digest := r.PathValue("digest")
	by, err := url.QueryUnescape(r.Header.Get(uploadedBy))
	if err != nil {
		return fmt.Errorf("%s: %w", uploadedBy, err)
	}
	mark := by != "" && !k.cfg.Disk.Has(digest)
	if mark {
		if err := k.cfg.Disk.Mark(digest, Upload{by, max(r.ContentLength, 0)}); err != nil {
			return err
		}
	}
	_, err = k.cfg.Disk.Put(r.Context(), digest, r.Body, k.cfg.MaxBytes)
	if mark && err != nil && !k.cfg.Disk.Has(digest) {
		return errors.Join(err, k.cfg.Disk.Unmark(digest))
	}
	return err
}

// Handler answers the other masters: PUT and GET of a blob, and POST missing. It only serves blobs on this disk, so
// that a fetch never goes round in circles.
func (k *Keeper) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+path+"{digest}", func(w http.ResponseWriter, r *http.Request) {
		if err := k.take(r); err != nil {
			k.log.LogAttrs(r.Context(), slog.LevelWarn, "blob of a peer not stored",
				slog.String(logkey.Blob, r.PathValue("digest")), slog.Any(logkey.Err, err))
			http.Error(w, err.Error(), http.StatusInsufficientStorage)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET "+path+"{digest}", func(w http.ResponseWriter, r *http.Request) {
		b, err := k.cfg.Disk.Open(r.PathValue("digest"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		defer b.Close()
		w.Header().Set("Content-Length", strconv.FormatInt(b.Size(), 10))
		if _, err := io.Copy(w, b); err != nil && r.Context().Err() == nil {
			k.log.LogAttrs(r.Context(), slog.LevelWarn, "blob not sent", slog.String(logkey.Blob, r.PathValue("digest")),
				slog.Any(logkey.Err, err))
			panic(http.ErrAbortHandler) // the reader must see a broken transfer, not a short blob
		}
	})
	mux.HandleFunc("POST "+path+"missing", func(w http.ResponseWriter, r *http.Request) {
		var ask list
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&ask); err != nil ||
			len(ask.Digests) > maxAsked {
			http.Error(w, fmt.Sprintf("want at most %d digests: %v", maxAsked, err), http.StatusBadRequest)
			return
		}
		var lack []string
		if len(ask.Digests) == 1 {
			// A master asks about one blob when it is about to name it. A copy that has not been read since this process
			// began may be damaged, so it is read now, and set aside if it is. Many blobs could not all be read in time.
			if err := k.cfg.Disk.Check(r.Context(), strings.ToLower(ask.Digests[0])); err != nil {
				k.log.LogAttrs(r.Context(), slog.LevelDebug, "a blob that was asked for is not here",
					slog.String(logkey.Blob, ask.Digests[0]), slog.Any(logkey.Err, err))
			}
		}
		for _, digest := range ask.Digests {
			// The answer is a confirmation: a blob that is here now must not be collected before a row names it.
			if ok, err := k.cfg.Disk.Touch(strings.ToLower(digest)); err != nil || !ok {
				lack = append(lack, digest)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(list{lack}); err != nil {
			k.log.LogAttrs(r.Context(), slog.LevelDebug, "answer not sent", slog.Any(logkey.Err, err))
		}
	})
	return mux
}
