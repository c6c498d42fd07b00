package master

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/pki"
	"scaleout/httpapi/wire"
)

// outside is the role of a master that gossip knows and the configuration does not.
const outside = "outside"

// hostPath is where a master tells the others about its machine and settings.
const hostPath = "/peer/host"

// host is what only a master itself knows of its machine and settings.
type host struct {
	Machine      string            `json:"machine"`
	IP           string            `json:"ip"`
	Port         int               `json:"port"`
	Thumbprint   string            `json:"thumbprint"`
	Instance     string            `json:"instance"`
	NotAfter     time.Time         `json:"not_after"`
	MissingBlobs int               `json:"missing_blobs"`
	DamagedBlobs int               `json:"damaged_blobs"`
	Settings     map[string]string `json:"settings"` // see common
}

func (m *Master) host() host {
	h := host{Instance: m.cfg.InstanceName, NotAfter: m.creds.NotAfter(), MissingBlobs: m.keeper.Missing(),
		DamagedBlobs: m.keeper.DamagedSinceStart()}
	h.Machine, _ = os.Hostname() // "" is shown as unknown
	if name, port, err := net.SplitHostPort(m.advertise); err == nil {
		h.Port, _ = strconv.Atoi(port)
		h.IP = address(name)
	}
	h.Thumbprint, _ = pki.Thumbprints(m.creds.Leaf())
	h.Settings = m.common()
	return h
}

// address is the IP address behind a host name, as far as it is known within a moment.
func address(name string) string {
	if ip := net.ParseIP(name); ip != nil {
		return ip.String()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", name)
	if err != nil || len(ips) == 0 {
		return ""
	}
	return ips[0].String()
}

func (m *Master) serveHost(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(m.host()); err != nil {
		m.log.Debug("answer not sent", "err", err)
	}
}

// hosts asks every living member at once, for half a second at most. A master that does not answer is not in the map.
func (m *Master) hosts(ctx context.Context, members []cluster.Member) map[string]host {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	out := map[string]host{m.ID(): m.host()}
	for _, x := range members {
		if x.Self || !x.Alive {
			continue
		}
		group.Go(func() {
			h, err := m.askHost(ctx, x.ID)
			if err != nil {
				m.log.Debug("a master did not tell about its machine", "peer", x.Name, "err", err)
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

func (m *Master) askHost(ctx context.Context, id string) (h host, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+id+hostPath, nil)
	if err != nil {
		return h, err
	}
	resp, err := m.transport.PeerClient().Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	return h, json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&h)
}

// differences lists the settings whose values are not the same on all masters.
func differences(settings map[string]map[string]string) []wire.SettingDifference {
	var out []wire.SettingDifference
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		values := slices.Collect(maps.Values(settings[name]))
		if slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
			out = append(out, wire.SettingDifference{Name: name, Values: settings[name]})
		}
	}
	return out
}
