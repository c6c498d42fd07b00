package master

import (
	"fmt"
	"maps"
	"runtime"
	"strconv"
	"strings"
	"time"

	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// debug is this master for a bundle.
func (m *Master) debug() wire.Debug {
	c := &m.cfg
	return wire.Debug{
		Name: c.Name, ID: m.ID(), Version: c.Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Level: command.Level, State: string(m.node.State()), Started: m.started, Log: m.tail.Lines(), Settings: m.settings(),
	}
}

// settings are all settings of this master, none of which is a secret, and in parentheses what follows from them.
func (m *Master) settings() map[string]string {
	c, timing := &m.cfg, m.node.Timing()
	all := m.common()
	maps.Copy(all, map[string]string{
		"NodeName": c.Name, "DataDirectory": c.DataDirectory, "BindAddress": c.BindAddress,
		"PortNumber": strconv.Itoa(c.Port),
		"GossipPort": strconv.Itoa(c.GossipPort), "AdvertiseAddress": m.advertise,
		"RetryJoin":       strings.Join(c.RetryJoin, ","),
		"BootstrapExpect": strconv.Itoa(c.BootstrapExpect), "CACertFile": c.Files.CA, "CertFile": c.Files.Cert,
		"KeyFile":       c.Files.Key,
		"GossipKeyFile": c.GossipKeyFile, "KeyRingFile": c.KeyRingFile, "SSLCertThumbprint": c.Thumbprint,
		"BackupFolder": c.Backups.Folder, "BackupIntervalInMs": millis(c.Backups.Interval),
		"BackupRetain": strconv.Itoa(c.Backups.Retain), "BackupKeyFile": c.Backups.KeyFile,
		"MaxHandshakes": strconv.Itoa(c.Connections.Handshakes), "MaxConnections": strconv.Itoa(c.Connections.Connections),
		"MaxConnectionsPerCertificate":     strconv.Itoa(c.Connections.PerCertificate),
		"MaxConnectionsWithoutCertificate": strconv.Itoa(c.Connections.Strangers),
		"MaxConnectionsPerAddress":         strconv.Itoa(c.Connections.PerAddress),
		"UnlimitedAddresses":               fmt.Sprint(c.Connections.Unlimited),
		"MaxGossipConnections":             strconv.Itoa(c.Gossip.Connections),
		"MaxGossipBytes":                   strconv.FormatInt(c.Gossip.Bytes, 10),
		"GossipOnlyFrom":                   fmt.Sprint(c.Gossip.OnlyFrom),
		"RequestHeadTimeoutInMs":           millis(c.Times.Head), "RequestBodyTimeoutInMs": millis(c.Times.Body),
		"MinUploadBytesPerSecond": strconv.FormatInt(c.Times.UploadRate, 10), "IdleTimeoutInMs": millis(c.Times.Idle),
		"IdleTimeoutWithoutCertificateInMs": millis(c.Times.IdleStranger),
		"(heartbeat)":                       timing.Heartbeat.String(), "(election)": timing.Election.String(),
		"(lease)": timing.Lease.String(),
	})
	return all
}

// common are the settings that should be equal on all masters.
func (m *Master) common() map[string]string {
	c := &m.cfg
	return map[string]string{
		"CleanupCompletedJobsIntervalInMs": millis(c.Cleanup),
		"DealWithExpiredTasksIntervalInMs": millis(c.Expiry),
		"MasterHeartbeatIntervalInMs":      millis(c.Heartbeat),
		"RetryDelayInMs":                   millis(c.RetryDelay),
		"RemoveDeadMastersAfterInMs":       millis(c.RemoveDead),
		"MaxProjectBytes":                  strconv.FormatInt(c.MaxProjectBytes, 10),
		"MaxUnnamedBlobBytes":              strconv.FormatInt(c.MaxUnnamedBlobBytes, 10),
		"MaxCallsInFlight":                 strconv.Itoa(c.Limits.CallsInFlight),
		"MaxCallsPerSecond":                strconv.Itoa(c.Limits.CallsPerSecond),
		"MaxEventStreams":                  strconv.Itoa(c.Limits.EventStreams),
		"MaxBodyMemoryBytes":               strconv.FormatInt(c.Limits.BodyBytes, 10),
		"MaxBodyMemoryBytesPerCaller":      strconv.FormatInt(c.Limits.CallerBodyBytes, 10),
		"MaxExecutionsNotStarted":          strconv.Itoa(c.CatalogLimits.NotStarted),
		"MaxTaskCountLimit":                strconv.Itoa(c.CatalogLimits.TaskCount),
		"MaxAgentIdsPerCertificate":        strconv.Itoa(c.CatalogLimits.AgentIDs),
		"MaxWorkersNeverEnabled":           strconv.Itoa(c.CatalogLimits.NeverEnabled),
		"ExpireNeverEnabledAfterInMs":      millis(c.ExpireNeverEnabled),
		"InstanceName":                     c.InstanceName,
		"TimingProfile":                    c.Timing,
		"MetricsOpen":                      strconv.FormatBool(c.MetricsOpen),
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
