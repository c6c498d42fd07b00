package status

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"scaleout/cluster"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// outside is the role of a master that gossip knows and the configuration does not.
const outside = "outside"

const healthy = "healthy"

// Bounds beyond which something is worth a warning.
const (
	certificateWarning = 30 * 24 * time.Hour
	clockWarning       = 30 * time.Second
	lagWarning         = 10_000 // entries
)

// Node is this master's node of the cluster.
type Node interface {
	ID() string
	Now() time.Time
	IsLeader() (term uint64, ready bool)
	Members(ctx context.Context) []cluster.Member
}

// State is the replicated state.
type State interface {
	Reader() *catalog.Reader
}

// Config is what a Reporter needs.
type Config struct {
	Node   Node
	State  State
	Host   func() Host  // of this master
	Peers  *http.Client // reaches another master by its id as the host
	Logger *slog.Logger
}

// Reporter reports what one master knows about all of them.
type Reporter struct{ cfg Config }

// New makes a Reporter.
func New(cfg Config) *Reporter { return &Reporter{cfg} }

// Beats returns the catalog's rows of the masters that are alive, and the ids of rows whose masters have left the
// configuration. A master that does not answer keeps its row, and does not lead in it.
func (r *Reporter) Beats(ctx context.Context) (rows []command.MasterBeat, gone []string) {
	member := map[string]bool{}
	members := r.cfg.Node.Members(ctx)
	hosts := r.hosts(ctx, members)
	reader := r.cfg.State.Reader()
	for _, x := range members {
		if x.Role == outside {
			continue
		}
		member[x.ID] = true
		h, told := hosts[x.ID]
		old, known := reader.Master(x.ID)
		if (!x.Alive || !told) && known {
			row := *old
			row.Leader = false
			rows = append(rows, row)
			continue
		}
		row := command.MasterBeat{
			ID: x.ID, Name: x.Name, Address: "https://" + x.Address, Version: x.Version, Level: x.Level,
			Leader: x.Leader, Machine: h.Machine, IP: h.IP, Port: h.Port, Thumbprint: h.Thumbprint, Instance: h.Instance,
		}
		if told {
			row.LastOnline = command.At(r.cfg.Node.Now())
		}
		rows = append(rows, row)
	}
	for row := range reader.Masters() {
		if !member[row.ID] {
			gone = append(gone, row.ID)
		}
	}
	return rows, gone
}

// Cluster returns the cluster as an operator sees it.
func (r *Reporter) Cluster(ctx context.Context) wire.ClusterStatus {
	reader := r.cfg.State.Reader()
	term, _ := r.cfg.Node.IsLeader()
	out := wire.ClusterStatus{
		ClusterID: reader.ClusterID(), Index: reader.Index(), Term: term, Level: reader.Level(), Members: []wire.Member{},
		Warnings: []string{}, Settings: []wire.SettingDifference{},
	}
	voters, healthyVoters := 0, 0
	settings := map[string]map[string]string{} // values by setting and master
	members := r.cfg.Node.Members(ctx)
	hosts := r.hosts(ctx, members)
	for _, x := range members {
		h := hosts[x.ID]
		m := member(x, h)
		out.Members = append(out.Members, m)
		out.Warnings = append(out.Warnings, warnings(x, h)...)
		if x.Role == wire.RoleVoter {
			voters++
			if m.Health == healthy {
				healthyVoters++
			}
		}
		for name, value := range h.Settings {
			if settings[name] == nil {
				settings[name] = map[string]string{}
			}
			settings[name][x.Name] = value
		}
	}
	out.FailureTolerance = max(0, healthyVoters-(voters/2+1))
	out.Settings = append(out.Settings, differences(settings)...)
	return out
}

func member(x cluster.Member, h Host) wire.Member {
	m := wire.Member{
		ID: x.ID, Name: x.Name, Address: "https://" + x.Address, Role: x.Role, Leader: x.Leader, Health: health(x),
		LagEntries: x.Lag, LastContactMs: -1, Version: x.Version, Level: x.Level, DiskFreeBytes: x.FreeBytes,
		MissingBlobs: h.MissingBlobs, DamagedBlobs: h.DamagedBlobs,
	}
	if x.Self {
		m.LastContactMs = 0
	} else if !x.LastContact.IsZero() {
		m.LastContactMs = time.Since(x.LastContact).Milliseconds()
	}
	if !h.NotAfter.IsZero() {
		at := h.NotAfter
		m.CertificateNotAfter = &at
	}
	return m
}

// warnings returns what an operator should look at on one master.
func warnings(x cluster.Member, h Host) (list []string) {
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if left := time.Until(h.NotAfter); !h.NotAfter.IsZero() && left < certificateWarning {
		warn("the certificate of %s expires in %d days", x.Name, int(left.Hours()/24))
	}
	if h.MissingBlobs > 0 {
		warn("%s lacks %d blobs that are named", x.Name, h.MissingBlobs)
	}
	if h.DamagedBlobs > 0 {
		warn("%s found %d damaged blobs on its disk since it started and fetches them again: look at its disk", x.Name,
			h.DamagedBlobs)
	}
	if x.ClockKnown && x.ClockOffset.Abs() > clockWarning {
		warn("the clock of %s is %v off", x.Name, x.ClockOffset.Round(time.Second))
	}
	return list
}

func health(x cluster.Member) string {
	switch {
	case x.Err != "" && !x.Self:
		return wire.HealthSilent + ": " + x.Err
	case x.Stopping:
		return "stopping"
	case x.Role == outside:
		return "not a member: " + string(x.State)
	case x.Disk != "":
		return "disk: " + x.Disk
	case x.Lag > lagWarning:
		return fmt.Sprintf("%d entries behind", x.Lag)
	}
	return healthy
}

// differences returns the settings whose values are not the same on all masters.
func differences(settings map[string]map[string]string) (list []wire.SettingDifference) {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		values := slices.Collect(maps.Values(settings[name]))
		if slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
			list = append(list, wire.SettingDifference{Name: name, Values: settings[name]})
		}
	}
	return list
}
