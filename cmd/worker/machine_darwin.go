package worker

import "golang.org/x/sys/unix"

// machineID returns the machine's id, and "" if the system does not tell it.
func machineID() string {
	id, _ := unix.Sysctl("kern.uuid")
	return id
}

// bootID returns the id of this boot of the machine, and "" if the system does not tell it.
func bootID() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
}
