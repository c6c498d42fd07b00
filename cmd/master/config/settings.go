package config

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"scaleout/cluster"
)

// Settings returns all settings as they are named in MasterSettings.config, and in parentheses what follows from them:
// the timings of Raft. advertise is what others dial.
func (c *Config) Settings(advertise string, timing cluster.Timing) map[string]string {
	all := c.Common()
	maps.Copy(all, map[string]string{
		"NodeName": c.Name, "DataDirectory": c.DataDirectory, "BindAddress": c.BindAddress,
		"PortNumber": strconv.Itoa(c.Port),
		"GossipPort": strconv.Itoa(c.GossipPort), "AdvertiseAddress": advertise,
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

// Common returns the settings that should be equal on all masters.
func (c *Config) Common() map[string]string {
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
