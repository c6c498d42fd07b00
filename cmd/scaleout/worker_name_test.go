package main

import (
	"strings"
	"testing"

	"scaleout/httpapi/client"
)

// A worker chooses its display name; only its certificate's name and its AgentId say who it is.
func TestWorkersAreNamedByTheirCertificates(t *testing.T) {
	row := func(id, certificate, display, machine string) client.Row {
		return client.Row{"WorkerAgentId": id, "CertificateName": certificate, "DisplayName": display, "MachineName": machine}
	}
	rows := []client.Row{
		row("A1", "etl-1", "etl-1", "host1"), row("B1", "stranger", "etl-1", "host1"), row("B2", "stranger", "etl-2", "host2"), row("C1", "etl-2", "", ""),
		row("D1", "plain", "payroll", "host9"),
	}
	for _, x := range []struct{ name, id, says string }{
		{"etl-1", "A1", ""},
		{"ETL-2", "C1", ""},
		{"{b1}", "B1", ""},
		{"stranger", "", "2 workers use the certificate"},
		{"payroll", "", `D1 (certificate "plain", machine "host9")`},
		{"host1", "", "B1 "},
		{"nobody", "", "there is no worker"},
	} {
		t.Run(x.name, func(t *testing.T) {
			id, err := chooseWorker(rows, x.name)
			if id != x.id || (err == nil) != (x.says == "") || err != nil && !strings.Contains(err.Error(), x.says) {
				t.Fatal(id, err)
			}
		})
	}
}
