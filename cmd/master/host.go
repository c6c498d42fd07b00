package master

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"

	"scaleout/cluster/pki"
	"scaleout/cmd/master/status"
)

// host is what only this master knows about its machine and settings.
func (m *Master) host() status.Host {
	h := status.Host{
		Instance: m.cfg.InstanceName, NotAfter: m.creds.NotAfter(), MissingBlobs: m.keeper.Missing(),
		DamagedBlobs: m.keeper.DamagedSinceStart(),
	}
	h.Machine, _ = os.Hostname() // "" is shown as unknown
	if name, port, err := net.SplitHostPort(m.advertise); err == nil {
		h.Port, _ = strconv.Atoi(port)
		h.IP = address(name)
	}
	h.Thumbprint, _ = pki.Thumbprints(m.creds.Leaf())
	h.Settings = m.cfg.Common()
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
