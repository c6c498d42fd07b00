package worker

import (
	"os"
	"strings"
)

// machineID returns the machine's id, and "" if the system does not tell it.
func machineID() string {
	return firstLine("/etc/machine-id", "/var/lib/dbus/machine-id")
}

// bootID returns the id of this boot of the machine, and "" if the system does not tell it.
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
