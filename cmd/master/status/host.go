package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"scaleout/cluster"
	"scaleout/fsm/logkey"
)

// Path is where a master tells the others its Host, by GET.
const Path = "/peer/host"

const (
	askTimeout  = 500 * time.Millisecond
	maxHostJSON = 1 << 16
)

// Host is what only a master itself knows about its machine and settings.
type Host struct {
	Machine      string            `json:"machine"`
	IP           string            `json:"ip"`
	Port         int               `json:"port"`
	Thumbprint   string            `json:"thumbprint"`
	Instance     string            `json:"instance"`
	NotAfter     time.Time         `json:"not_after"` // of its certificate
	MissingBlobs int               `json:"missing_blobs"`
	DamagedBlobs int               `json:"damaged_blobs"`
	Settings     map[string]string `json:"settings"` // those that should be equal on all masters
}

// ServeHTTP answers with this master's Host.
func (r *Reporter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(r.cfg.Host()); err != nil {
		r.cfg.Logger.LogAttrs(req.Context(), slog.LevelDebug, "answer not sent", slog.Any(logkey.Err, err))
	}
}

// hosts asks every living member at once. A master that does not answer in time is not in the map.
func (r *Reporter) hosts(ctx context.Context, members []cluster.Member) map[string]Host {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	out := map[string]Host{r.cfg.Node.ID(): r.cfg.Host()}
	for _, x := range members {
		if x.Self || !x.Alive {
			continue
		}
		group.Go(func() {
			h, err := r.ask(ctx, x.ID)
			if err != nil {
				r.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "a master did not tell about its machine",
					slog.String(logkey.Master, x.Name), slog.Any(logkey.Err, err))
				return
			}
			mu.Lock()
			out[x.ID] = h
			mu.Unlock()
		})
	}
	group.Wait()
	return out
}

func (r *Reporter) ask(ctx context.Context, id string) (h Host, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+id+Path, nil)
	if err != nil {
		return h, err
	}
	resp, err := r.cfg.Peers.Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return h, fmt.Errorf("%s: %s", Path, resp.Status)
	}
	return h, json.NewDecoder(io.LimitReader(resp.Body, maxHostJSON)).Decode(&h)
}
