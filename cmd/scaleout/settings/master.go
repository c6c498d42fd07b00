package settings

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Master is MasterSettings.config.
type Master struct {
	PortNumber                       int      `key:"PortNumber" default:"8391" min:"1" max:"65535" doc:"HTTPS port for workers, users and masters"`
	SSLCertThumbprint                string   `key:"SSLCertThumbprint" doc:"SHA-1 or SHA-256 thumbprint that the certificate must have; empty: no check"`
	InstanceName                     string   `key:"InstanceName,SqlServerName" default:"MSSQLSERVER" doc:"shown as server_name and CLUSTER_LOGDB_SERVER; nothing is contacted"`
	SqlConnectionTimeoutInSecs       int      `key:"SqlConnectionTimeoutInSecs" default:"15" min:"0" doc:"accepted for old files, without effect"`
	CleanupCompletedJobsIntervalInMs Millis   `key:"CleanupCompletedJobsIntervalInMs" default:"43200000" min:"1000" doc:"how often the leader cleans up"`
	DealWithExpiredTasksIntervalInMs Millis   `key:"DealWithExpiredTasksIntervalInMs" default:"300000" min:"1000" doc:"how often the leader looks for lost tasks, besides each deadline"`
	MasterHeartbeatIntervalInMs      Millis   `key:"MasterHeartbeatIntervalInMs" default:"30000" min:"1000" doc:"how often the leader writes who is online"`
	NodeName                         string   `key:"NodeName" doc:"name of this master; empty: the certificate's"`
	DataDirectory                    string   `key:"DataDirectory" doc:"where this master keeps its state"`
	LogFolder                        string   `key:"LogFolder" doc:"folder of the service log"`
	BindAddress                      string   `key:"BindAddress" doc:"address to listen on; empty: all"`
	AdvertiseAddress                 string   `key:"AdvertiseAddress" doc:"host (or host:port) by which others reach this master; empty: the host name"`
	RetryJoin                        []string `key:"RetryJoin" doc:"gossip addresses of other masters, host or host:port"`
	BootstrapExpect                  int      `key:"BootstrapExpect" default:"0" min:"0" max:"9" doc:"how many new masters form a new cluster; 0: only join one"`
	GossipPort                       int      `key:"GossipPort" default:"8392" min:"1" max:"65535" doc:"gossip port, TCP and UDP"`
	GossipKeyFile                    string   `key:"GossipKeyFile" doc:"gossip.key of the certificate folder"`
	KeyRingFile                      string   `key:"KeyRingFile" doc:"keyring.json of the certificate folder; imported at the first start"`
	CACertFile                       string   `key:"CACertFile" doc:"ca.pem"`
	CertFile                         string   `key:"CertFile" doc:"cert.pem"`
	KeyFile                          string   `key:"KeyFile" doc:"key.pem"`
	TimingProfile                    string   `key:"TimingProfile" default:"lan" one:"lan,fast,wan" doc:"Raft timings: lan, fast or wan"`
	RetryDelayInMs                   Millis   `key:"RetryDelayInMs" default:"5000" min:"0" max:"86400000" doc:"a retry waits this long times the attempt"`
	RemoveDeadMastersAfterInMs       Millis   `key:"RemoveDeadMastersAfterInMs" default:"0" min:"0" doc:"the leader removes a master that is silent for so long, never below three voters; 0: it does not"`
	MaxProjectBytes                  Size     `key:"MaxProjectBytes" default:"512MiB" min:"1024" doc:"largest project file"`
	MaxUnnamedBlobBytes              Size     `key:"MaxUnnamedBlobBytes" default:"2GiB" min:"1024" doc:"most bytes that one user may have uploaded which no project names yet; not less than MaxProjectBytes"`
	MaxCallsInFlight                 int      `key:"MaxCallsInFlight" default:"256" min:"4" max:"1000000" doc:"calls of one certificate name that a master works on at once, held polls included"`
	MaxCallsPerSecond                int      `key:"MaxCallsPerSecond" default:"5000" min:"10" max:"1000000" doc:"calls of one certificate name per second; twice as many may come at once"`
	MaxEventStreams                  int      `key:"MaxEventStreams" default:"8" min:"1" max:"100000" doc:"event streams of one certificate name at a master"`
	MaxBodyMemoryBytes               Size     `key:"MaxBodyMemoryBytes" default:"64MiB" min:"33554432" doc:"bodies of requests that a master holds in memory at once; a quarter is for bodies up to 64 KiB"`
	MaxBodyMemoryBytesPerCaller      Size     `key:"MaxBodyMemoryBytesPerCaller" default:"32MiB" min:"16777216" doc:"the part of them that one certificate name may take"`
	MaxExecutionsNotStarted          int      `key:"MaxExecutionsNotStarted" default:"20000" min:"1" max:"10000000" doc:"executions of one caller that are created and that no worker was given yet"`
	MaxTaskCountLimit                int      `key:"MaxTaskCountLimit" default:"1000" min:"1" max:"10000" doc:"bounds the MaxTaskCount of every worker"`
	MaxAgentIdsPerCertificate        int      `key:"MaxAgentIdsPerCertificate" default:"64" min:"1" max:"100000" doc:"workers that may register under one certificate name"`
	MaxWorkersNeverEnabled           int      `key:"MaxWorkersNeverEnabled" default:"10000" min:"1" max:"1000000" doc:"registered workers that were never enabled"`
	ExpireNeverEnabledAfterInMs      Millis   `key:"ExpireNeverEnabledAfterInMs" default:"86400000" min:"60000" doc:"a worker that was never enabled is forgotten, at the next cleanup, when no master has heard from it for so long"`
	MetricsOpen                      bool     `key:"MetricsOpen" default:"false" doc:"/metrics without a certificate"`
	BackupFolder                     string   `key:"BackupFolder" doc:"where this master writes backups of its own; empty: none"`
	BackupIntervalInMs               Millis   `key:"BackupIntervalInMs" default:"86400000" min:"60000" doc:"how often"`
	BackupRetain                     int      `key:"BackupRetain" default:"7" min:"1" max:"10000" doc:"how many of them are kept"`
	BackupKeyFile                    string   `key:"BackupKeyFile" doc:"random file that wraps the key ring in them; empty: they are without it"`

	MaxHandshakes                     int      `key:"MaxHandshakes" default:"1024" min:"16" max:"100000" doc:"TLS handshakes that may be under way at a time; masters' addresses are counted apart"`
	MaxConnections                    int      `key:"MaxConnections" default:"10000" min:"16" max:"1000000" doc:"open connections with a valid certificate; masters are not counted"`
	MaxConnectionsPerCertificate      int      `key:"MaxConnectionsPerCertificate" default:"512" min:"4" max:"1000000" doc:"open connections under the name of one certificate"`
	MaxConnectionsWithoutCertificate  int      `key:"MaxConnectionsWithoutCertificate" default:"256" min:"8" max:"1000000" doc:"open connections without a valid certificate, such as those of load balancers; the oldest make room for new ones"`
	MaxConnectionsPerAddress          int      `key:"MaxConnectionsPerAddress" default:"32" min:"1" max:"1000000" doc:"of those, from one address (IPv6: one /64)"`
	UnlimitedAddresses                []string `key:"UnlimitedAddresses" default:"127.0.0.0/8,::1/128" doc:"addresses or networks without MaxConnectionsPerAddress, such as those of load balancers; masters' have none"`
	MaxGossipConnections              int      `key:"MaxGossipConnections" default:"32" min:"4" max:"10000" doc:"open TCP connections to the gossip port; a quarter of them from one address; masters' addresses are counted apart"`
	MaxGossipBytes                    Size     `key:"MaxGossipBytes" default:"128KiB" min:"16384" max:"20971520" doc:"what one of them may bring before the gossip key is checked, and after"`
	GossipOnlyFrom                    []string `key:"GossipOnlyFrom" doc:"addresses or networks that may gossip, besides masters that are known already; empty: all"`
	RequestHeadTimeoutInMs            Millis   `key:"RequestHeadTimeoutInMs" default:"10000" min:"100" max:"600000" doc:"how long the head of a request may take"`
	RequestBodyTimeoutInMs            Millis   `key:"RequestBodyTimeoutInMs" default:"30000" min:"100" max:"3600000" doc:"how long the body of a request may take that is not a file"`
	MinUploadBytesPerSecond           Size     `key:"MinUploadBytesPerSecond" default:"4KiB" min:"1" doc:"what the upload of a file must bring; it may fall behind by a minute"`
	IdleTimeoutInMs                   Millis   `key:"IdleTimeoutInMs" default:"120000" min:"1000" doc:"how long a connection may be open between two requests"`
	IdleTimeoutWithoutCertificateInMs Millis   `key:"IdleTimeoutWithoutCertificateInMs" default:"10000" min:"100" doc:"the same for connections without a valid certificate"`
}

// NewMaster is the settings of a master at their defaults; Load fills m.
func NewMaster(m *Master) *Set {
	s := newSet(m, "SCALEOUT_MASTER_")
	s.check = func() []Problem {
		var out []Problem
		if m.PortNumber == m.GossipPort {
			out = append(out, s.Problem("GossipPort", "%d is the PortNumber too; they must differ", m.GossipPort))
		}
		for _, f := range []struct{ key, value string }{
			{"DataDirectory", m.DataDirectory}, {"CACertFile", m.CACertFile}, {"CertFile", m.CertFile},
			{"KeyFile", m.KeyFile}, {"GossipKeyFile", m.GossipKeyFile},
		} {
			if f.value == "" {
				out = append(out, s.missing(f.key, "it must be set"))
			}
		}
		if t := strings.NewReplacer(" ", "", ":", "").Replace(m.SSLCertThumbprint); t != "" && !thumbprint(t) {
			out = append(out, s.Problem("SSLCertThumbprint",
				"%q is neither a SHA-1 (40 hex digits) nor a SHA-256 (64) thumbprint", m.SSLCertThumbprint))
		}
		if m.MaxUnnamedBlobBytes < m.MaxProjectBytes {
			out = append(out, s.Problem("MaxUnnamedBlobBytes",
				"%d is less than MaxProjectBytes, %d: a project file of that size could not be uploaded",
				m.MaxUnnamedBlobBytes, m.MaxProjectBytes))
		}
		if m.BindAddress != "" && net.ParseIP(m.BindAddress) == nil {
			out = append(out, s.Problem("BindAddress", "%q is not an IP address", m.BindAddress))
		}
		for key, list := range map[string][]string{"UnlimitedAddresses": m.UnlimitedAddresses,
			"GossipOnlyFrom": m.GossipOnlyFrom} {
			if _, err := Networks(list); err != nil {
				out = append(out, s.Problem(key, "%v", err))
			}
		}
		if m.BootstrapExpect > 1 && len(m.RetryJoin) == 0 {
			out = append(out, s.Problem("RetryJoin", "a cluster of %d masters needs the address of at least one other",
				m.BootstrapExpect))
		}
		if m.BootstrapExpect == 0 && len(m.RetryJoin) == 0 {
			out = append(out, s.Problem("BootstrapExpect",
				"with 0 this master only joins a cluster, so RetryJoin must name one; set 1 for a cluster of one"))
		}
		if m.RemoveDeadMastersAfterInMs > 0 && m.RemoveDeadMastersAfterInMs < Millis(10*time.Minute) {
			out = append(out, s.Problem("RemoveDeadMastersAfterInMs",
				"%d is shorter than many a restart; 0 for never, or at least 600000 (ten minutes)",
				time.Duration(m.RemoveDeadMastersAfterInMs).Milliseconds()))
		}
		if m.BootstrapExpect%2 == 0 && m.BootstrapExpect > 0 {
			out = append(out, s.Problem("BootstrapExpect", "%d masters tolerate no more failures than %d; use an odd number",
				m.BootstrapExpect, m.BootstrapExpect-1))
		}
		return out
	}
	return s
}

// Networks reads a list of addresses ("10.0.0.7") and networks ("10.0.0.0/24").
func Networks(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			ip, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("%q is neither an IP address nor a network such as 10.0.0.0/24", text)
			}
			p = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func thumbprint(t string) bool {
	if len(t) != 40 && len(t) != 64 {
		return false
	}
	for _, c := range t {
		if !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return false
		}
	}
	return true
}
