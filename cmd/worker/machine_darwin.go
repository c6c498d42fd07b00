package worker

import "golang.org/x/sys/unix"

// machineID and bootID are "" where the system does not say.
func machineID() string {
	id, _ := unix.Sysctl("kern.uuid")
	return id
}

func bootID() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
}
