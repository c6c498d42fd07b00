package worker

import (
	"os"
	"strings"
)

// machineID and bootID are "" where the system does not say.
func machineID() string {
	return firstLine("/etc/machine-id", "/var/lib/dbus/machine-id")
}

func bootID() string { return firstLine("/proc/sys/kernel/random/boot_id") }

func firstLine(paths ...string) string {
	for _, p := range paths {
		if data, err := os.ReadFile(p); err == nil {
			if s := strings.TrimSpace(string(data)); s != "" {
				return s
			}
		}
	}
	return ""
}
