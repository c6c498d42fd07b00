package master

import (
	"context"
	"fmt"
	"strings"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/leader"
	"scaleout/cluster/routine"
	"scaleout/cluster/segmenter"
	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// routines are the leader routines. They are made before what they use, so they ask for it when they run.
func (m *Master) routines() []leader.Routine {
	run := func(name string, f func(ctx context.Context) error) leader.Routine {
		return leader.Routine{Name: name, Run: f}
	}
	return []leader.Routine{
		run("dispatch", func(ctx context.Context) error { return m.dispatch.Run(ctx) }),
		run("queue timeout", func(ctx context.Context) error { return m.dispatch.FailOverdue(ctx) }),
		run("announce", func(ctx context.Context) error { return m.announcer.Run(ctx) }),
		run("disks", func(ctx context.Context) error { return m.announcer.WatchDisks(ctx) }),
		run("messages", func(ctx context.Context) error { return m.packer.Run(ctx) }),
		run("heartbeat", func(ctx context.Context) error {
			return (&routine.Heartbeat{
				Interval: m.cfg.Heartbeat, Proposer: m.node, Masters: m.beats, Contacts: m.dispatch.Contacts, Logger: m.log,
			}).Run(ctx)
		}),
		run("expiry", func(ctx context.Context) error {
			return (&routine.Expiry{Interval: m.cfg.Expiry, Leases: m.dispatch, Proved: m.node.Proved, Logger: m.log}).Run(ctx)
		}),
		run("cleanup", func(ctx context.Context) error {
			return (&routine.Cleanup{
				Interval: m.cfg.Cleanup, Proposer: m.node, State: m.fsm, Now: m.node.Now, NeverEnabled: m.cfg.ExpireNeverEnabled,
				Merge: m.merge, Logger: m.log,
			}).Run(ctx)
		}),
	}
}

// merge packs small message segments together.
func (m *Master) merge(ctx context.Context) error {
	view := m.fsm.View()
	var smalls []segmenter.Small
	for s := range view.Segments() {
		if s.Size >= segmenter.MergeSmall {
			continue
		}
		small := segmenter.Small{Digest: s.Digest, Size: s.Size}
		seen := map[int]bool{}
		for r := range view.SegmentRuns(s.Digest) {
			if !seen[r.Part] {
				seen[r.Part] = true
				small.Parts = append(small.Parts, r.Part)
			}
		}
		smalls = append(smalls, small)
	}
	return m.packer.Merge(ctx, smalls)
}

// beats are the rows of the masters that are alive, and the ids of rows whose masters left the configuration.
func (m *Master) beats(ctx context.Context) (rows []command.MasterBeat, gone []string) {
	member := map[string]bool{}
	members := m.node.Members(ctx)
	hosts := m.hosts(ctx, members)
	for _, x := range members {
		if x.Role == outside {
			continue
		}
		member[x.ID] = true
		h, told := hosts[x.ID]
		old, known := m.fsm.View().Master(x.ID)
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
			row.LastOnline = command.At(m.node.Now())
		}
		rows = append(rows, row)
	}
	for row := range m.fsm.View().Masters() {
		if !member[row.ID] {
			gone = append(gone, row.ID)
		}
	}
	return rows, gone
}

// mayPromote says what a non-voter still lacks besides the log.
func (m *Master) mayPromote(ctx context.Context, id string) error {
	if m.cfg.Promote != nil {
		if err := m.cfg.Promote(ctx, id); err != nil {
			return err
		}
	}
	return m.keeper.Holds(ctx, id)
}

// mayRemove names the blobs that would be lost without a master.
func (m *Master) mayRemove(ctx context.Context, id string, gone bool) error {
	few, none := m.keeper.Without(ctx, id)
	switch {
	case gone && len(none) > 0:
		return fmt.Errorf("%d blobs would be held by no master that answers, %s among them; where its disk is "+
			"lost for good, "+
			"'scaleout cluster remove --force' gives them up", len(none), none[0])
	case !gone && len(few) > 0:
		return fmt.Errorf("%d blobs would be held by fewer than a majority of the masters that remain, %s among them; those "+
			"that lack one look for it every few minutes", len(few), few[0])
	}
	return nil
}

// ready lists what /readyz checks.
func (m *Master) ready(ctx context.Context) []wire.Check {
	check := func(name string, ok bool, detail string) wire.Check {
		if ok {
			detail = ""
		}
		return wire.Check{Name: name, OK: ok, Detail: detail}
	}
	caught := false
	select {
	case <-m.node.CaughtUp():
		caught = true
	default:
	}
	_, leader := m.node.Leader()
	waiting := m.node.Waiting()
	if waiting == "" {
		waiting = "no master leads"
	}
	disk := ""
	if err := m.node.DiskError(); err != nil {
		disk = err.Error()
	}
	return []wire.Check{
		check("running", !m.draining.Load(), "this master is stopping"),
		check("leader", leader, waiting),
		check("caught_up", caught, "the state has not reached what the cluster had committed when this master started"),
		check("disk", disk == "", disk),
		check("member", m.node.State() != cluster.StateRemoved, "this master was removed from the cluster"),
	}
}

// operator is the cluster as an operator sees it.
type operator struct{ m *Master }

func (a operator) Peers() []string { return a.m.node.Peers() }

func (a operator) Masters() []string {
	var out []string
	for _, p := range a.m.node.Peers() {
		out = append(out, "https://"+p)
	}
	return out
}

// find turns a name or id into an id.
func (a operator) find(ctx context.Context, member string) string {
	for _, x := range a.m.node.Members(ctx) {
		if x.ID == member || strings.EqualFold(x.Name, member) {
			return x.ID
		}
	}
	return member
}

func (a operator) Transfer(ctx context.Context, to string) error {
	if to != "" {
		to = a.find(ctx, to)
	}
	return a.m.node.Transfer(ctx, to)
}

func (a operator) Remove(ctx context.Context, member string, force bool) error {
	return a.m.node.Remove(ctx, a.find(ctx, member), force)
}

func (a operator) Status(ctx context.Context) (wire.ClusterStatus, error) {
	view := a.m.fsm.View()
	term, _ := a.m.node.IsLeader()
	out := wire.ClusterStatus{ClusterID: view.ClusterID(), Index: view.Index(), Term: term, Level: view.Level(),
		Members: []wire.Member{}, Warnings: []string{}, Settings: []wire.SettingDifference{}}
	voters, healthy := 0, 0
	settings := map[string]map[string]string{}
	members := a.m.node.Members(ctx)
	hosts := a.m.hosts(ctx, members)
	for _, x := range members {
		h := hosts[x.ID]
		m := wire.Member{
			ID: x.ID, Name: x.Name, Address: "https://" + x.Address, Role: x.Role, Leader: x.Leader, Health: health(x),
			LagEntries: x.Lag, LastContactMs: -1, Version: x.Version, Level: x.Level, DiskFreeBytes: x.FreeBytes,
			MissingBlobs: h.MissingBlobs,
			DamagedBlobs: h.DamagedBlobs,
		}
		if x.Self {
			m.LastContactMs = 0
		} else if !x.LastContact.IsZero() {
			m.LastContactMs = time.Since(x.LastContact).Milliseconds()
		}
		if !h.NotAfter.IsZero() {
			at := h.NotAfter
			m.CertificateNotAfter = &at
			if left := time.Until(h.NotAfter); left < 30*24*time.Hour {
				out.Warnings = append(out.Warnings, fmt.Sprintf("the certificate of %s expires in %d days", x.Name,
					int(left.Hours()/24)))
			}
		}
		if h.MissingBlobs > 0 {
			out.Warnings = append(out.Warnings, fmt.Sprintf("%s lacks %d blobs that are named", x.Name, h.MissingBlobs))
		}
		if h.DamagedBlobs > 0 {
			out.Warnings = append(out.Warnings,
				fmt.Sprintf("%s found %d damaged blobs on its disk since it started and fetches them again: "+
					"look at its disk", x.Name, h.DamagedBlobs))
		}
		if x.ClockKnown && x.ClockOffset.Abs() > 30*time.Second {
			out.Warnings = append(out.Warnings, fmt.Sprintf("the clock of %s is %v off", x.Name,
				x.ClockOffset.Round(time.Second)))
		}
		if x.Role == wire.RoleVoter {
			voters++
			if m.Health == "healthy" {
				healthy++
			}
		}
		for name, value := range h.Settings {
			if settings[name] == nil {
				settings[name] = map[string]string{}
			}
			settings[name][x.Name] = value
		}
		out.Members = append(out.Members, m)
	}
	out.FailureTolerance = max(0, healthy-(voters/2+1))
	out.Settings = append(out.Settings, differences(settings)...)
	return out, nil
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
	case x.Lag > 10_000:
		return fmt.Sprintf("%d entries behind", x.Lag)
	}
	return "healthy"
}
