package testcluster_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// The units under a real systemd, set up as the guide says: notification, watchdog, hardening, exit codes, a worker
// that is replaced under a running package, masters that are restarted under load, installation and removal.
func TestSystemd(t *testing.T) {
	m := bootMachines(t)
	m.setUp()
	for _, name := range theMasters {
		m.serves(name, "scaleout-master", 0)
	}
	m.serves(theWorker, "scaleout-worker", 0)
	m.deploy("Jobs", map[string]string{
		// What a package may rely on in the unit.
		"work.sh": `set -eu
			test "$HOME" = ` + workerHome + `
			touch "$HOME/a" "$SCALEOUT_TASK_DIR/b" /tmp/c
			test -z "${NOTIFY_SOCKET-}"
			echo $SCALEOUT_EXECUTION_ID.$SCALEOUT_ATTEMPT >> "$HOME/ran"`,
		// One process from the beginning to the end, which the test decides.
		"long.sh": `echo first
			mkfifo "$HOME/go"
			read word < "$HOME/go"
			echo last
			echo $SCALEOUT_EXECUTION_ID.$SCALEOUT_ATTEMPT >> "$HOME/ran"`,
	})
	m.cli("scaleout execution run ETL/Jobs/work.sh --wait")

	m.packageOutlivesItsWorker()
	m.rollingRestart()
	m.settings()
	m.exitCodes()
	m.installation()

	m.dropIn("m2", "scaleout-master", "WatchdogSec=6s")
	m.run("m2", "systemctl restart scaleout-master")
	m.hang("m2", "scaleout-master")

	// Enabled services start again with their machine.
	m.host("docker restart " + m.prefix + "m3")
	m.up("m3")
	m.serves("m3", "scaleout-master", 0)
	m.until("the cluster is whole", func() bool {
		return strings.Contains(m.cli("scaleout cluster status -o json"), `"failure_tolerance": 1`)
	})
}

// A package keeps running while its worker is restarted and while the watchdog replaces the worker. It ends
// successfully, once, at the first attempt.
func (m *machines) packageOutlivesItsWorker() {
	m.t.Helper()
	id := m.start("ETL/Jobs/long.sh")
	m.until("the package waits", func() bool {
		_, err := m.try(theWorker, "test -p "+workerHome+"/go")
		return err == nil
	})
	before := m.packageProcesses()
	if len(before) != 2 {
		m.t.Fatalf("a guard and a package were expected: %v", before)
	}
	same := func(after string) {
		m.t.Helper()
		if now := m.packageProcesses(); !slices.Equal(now, before) {
			m.t.Fatalf("%s the package's processes are %v, before %v", after, now, before)
		}
	}
	m.dropIn(theWorker, "scaleout-worker", "WatchdogSec=6s")
	m.run(theWorker, "systemctl restart scaleout-worker")
	same("after a restart")
	m.hang(theWorker, "scaleout-worker")
	same("after the watchdog's work")
	m.run(theWorker, "echo go > "+workerHome+"/go")
	m.cli("scaleout execution wait " + id)
	if n := m.ran()[id+".1"]; n != 1 {
		m.t.Errorf("the package ended %d times", n)
	}
	out := m.cli("scaleout execution wait " + id + "; scaleout execution logs " + id)
	for _, want := range []string{"first\n", "last\n"} {
		if strings.Count(out, want) != 1 {
			m.t.Errorf("%q was to be there once:\n%s", want, out)
		}
	}
	// The later processes send again what the first one had sent: that must not block other messages.
	if out, err := m.try(theWorker, "journalctl -u scaleout-worker | grep 'could not be handed over'"); err == nil {
		m.t.Errorf("messages were held up:\n%s", out)
	}
}

// The masters are restarted as the guide says, while clients make one call after the other: no call fails, and each
// execution runs once.
func (m *machines) rollingRestart() {
	m.t.Helper()
	var wg sync.WaitGroup
	traffic := m.operator() + `
		while [ ! -e stop ]; do
			scaleout execution run -o json ETL/Jobs/work.sh > ran
			sed -n 's/.*"execution_id": *\([0-9]*\).*/\1/p' ran >> ids
		done
		for id in $(cat ids); do scaleout execution wait $id > waited; done`
	wg.Go(func() {
		if _, err := m.try(theDesk, traffic); err != nil {
			m.t.Errorf("a call failed: %v", err)
		}
	})
	count := func() int { out, _ := m.try(theDesk, "cat ids"); return len(strings.Fields(out)) }
	flows := func() {
		m.t.Helper()
		target := count() + 5
		m.until("executions are started", func() bool { return count() >= target })
	}
	for _, name := range theMasters {
		flows()
		m.run(name, "systemctl restart scaleout-master")
		if p := m.unit(name, "scaleout-master"); p["StatusText"] != "serving" {
			m.t.Errorf("%s was restarted and %s", name, p["StatusText"])
		}
	}
	flows()
	m.run(theDesk, "touch stop")
	wg.Wait()
	ids := strings.Fields(m.run(theDesk, "cat ids"))
	ran := m.ran()
	for _, id := range ids {
		if n := ran[id+".1"]; n != 1 {
			m.t.Errorf("execution %s ran %d times", id, n)
		}
	}
	m.t.Logf("%d executions", len(ids))
}

// Backups are written to the folder that the guide's drop-in permits.
func (m *machines) settings() {
	m.t.Helper()
	const file = "/etc/scaleout/MasterSettings.config"
	m.run("m1", "sed -i 's#^{#{ \"BackupFolder\": \"/srv/scaleout/backups\",#' "+file)
	m.run("m1", m.block("Linux, systemd", "ReadWritePaths"))
	m.until("there is a backup", func() bool {
		_, err := m.try("m1", "ls /srv/scaleout/backups/*.tar")
		return err == nil
	})
	// With wrong settings the service is not restarted.
	m.run("m1", "cp "+file+" good && sed -i 's#^{#{ \"PortNumbr\": 1,#' "+file)
	if out, err := m.try("m1", "systemctl restart scaleout-master"); err == nil {
		m.t.Errorf("it was started with wrong settings: %s", out)
	}
	if p := m.unit("m1", "scaleout-master"); p["ActiveState"] != "failed" || p["ExecMainStatus"] != "78" {
		m.t.Errorf("with wrong settings: %s, exit code %s", p["ActiveState"], p["ExecMainStatus"])
	}
	m.run("m1", "cp good "+file+" && systemctl start scaleout-master")
	m.serves("m1", "scaleout-master", 0)
}

// A master that was killed or whose disk stalled is started again; a master that is too old for its log is not.
func (m *machines) exitCodes() {
	m.t.Helper()
	m.run("m1", "kill -KILL "+m.unit("m1", "scaleout-master")["MainPID"])
	m.serves("m1", "scaleout-master", 1)
	for code, want := range map[string]string{"75": "activating", "78": "failed"} {
		m.dropIn("m1", "scaleout-master", "Type=exec\nExecStart=\nExecStart=/bin/sh -c 'exit "+code+"'")
		_, _ = m.try("m1", "systemctl restart scaleout-master") // the restart may or may not notice the failure in time
		m.until("exit code "+code+": "+want, func() bool {
			p := m.unit("m1", "scaleout-master")
			return p["ExecMainStatus"] == code && p["ActiveState"] == want
		})
	}
	m.dropIn("m1", "scaleout-master", "")
	m.run("m1", "systemctl restart scaleout-master")
	m.serves("m1", "scaleout-master", 0)
}

// 'service install' writes the unit that is shipped, and 'service uninstall' leaves nothing that runs.
func (m *machines) installation() {
	m.t.Helper()
	for name, kind := range map[string]string{"m3": "master", theWorker: "worker"} {
		unit := "scaleout-" + kind
		shipped := "deploy/systemd/" + unit + ".service"
		installed := "/etc/systemd/system/" + unit + ".service"
		if out, err := m.try(name, "scaleout service install "+kind); err == nil ||
			!strings.Contains(err.Error(), "installed already") {
			m.t.Errorf("installed twice: %s %v", out, err)
		}
		m.run(name, "scaleout service uninstall "+kind+"\nif systemctl is-active "+unit+" || test -e "+installed+
			"; then exit 1; fi")
		m.run(name, "chown root: /etc/scaleout/certs/key.pem")
		if out, err := m.try(name, "scaleout service install "+kind); err == nil ||
			!strings.Contains(err.Error(), "key.pem") {
			m.t.Errorf("installed for an account that cannot read its key: %s %v", out, err)
		}
		m.run(name, "chown scaleout: /etc/scaleout/certs/key.pem")
		m.run(name, "scaleout service install "+kind+"\ncmp "+shipped+" "+installed+"\nscaleout service start "+kind+
			"\nscaleout service status "+kind)
		m.run(name, "systemctl is-enabled "+unit)
		m.serves(name, unit, 0)
	}
	m.run(theWorker, "scaleout ready --worker "+workerHome+"/data")
}
