package settings

import (
	"net/url"
	"strings"
	"time"
)

// Worker is WorkerSettings.config.
type Worker struct {
	DisplayName                        string   `key:"DisplayName" doc:"shown in worker_agents; empty: the machine's name"`
	Description                        string   `key:"Description" doc:"shown in worker_agents"`
	MasterEndpoint                     []string `key:"MasterEndpoint" doc:"addresses of the masters, https://host:port, comma-separated; one is enough"`
	MasterHttpsCertThumbprint          []string `key:"MasterHttpsCertThumbprint" doc:"thumbprints of masters' certificates or of their CA; empty: no pinning"`
	WorkerHttpsCertThumbprint          string   `key:"WorkerHttpsCertThumbprint" doc:"thumbprint that this worker's certificate must have; empty: no check"`
	StoreLocation                      string   `key:"StoreLocation" default:"LocalMachine" doc:"accepted for old files, without effect: certificates are files here"`
	StoreName                          string   `key:"StoreName" default:"My" doc:"accepted for old files, without effect"`
	AgentHeartbeatInterval             Timespan `key:"AgentHeartbeatInterval" default:"00:01:00" min:"1s" doc:"heartbeat of the worker; twice this without a word is offline"`
	TaskHeartbeatInterval              Timespan `key:"TaskHeartbeatInterval" default:"00:00:10" min:"100ms" doc:"how often running tasks are reported"`
	HeartbeatErrorTolerance            Timespan `key:"HeartbeatErrorTolerance,HeartbeatErrorTollerance" default:"00:10:00" min:"1s" max:"87600h" doc:"how long a task that would not be retried goes on without a master"`
	TaskRequestMaxCPU                  float64  `key:"TaskRequestMaxCPU" default:"70.0" min:"0" max:"100" doc:"accepted for old files, without effect"`
	TaskRequestMinMemory               float64  `key:"TaskRequestMinMemory" default:"100.0" min:"0" doc:"accepted for old files, without effect"`
	MaxTaskCount                       int      `key:"MaxTaskCount" default:"10" min:"1" max:"1000" doc:"most tasks at once"`
	LeaseInterval                      Timespan `key:"LeaseInterval,LeaseInternval" default:"00:01:00" min:"1s" doc:"lease of a task that may be retried"`
	TasksRootFolder                    string   `key:"TasksRootFolder" doc:"folder of the tasks' own folders"`
	TaskLogLevel                       int      `key:"TaskLogLevel" default:"126" min:"0" max:"127" doc:"accepted for old files, without effect"`
	TaskLogSegment                     Timespan `key:"TaskLogSegment" default:"00:00:00" doc:"accepted for old files, without effect"`
	TaskLogEnabled                     bool     `key:"TaskLogEnabled" default:"true" doc:"accepted for old files, without effect: output is always kept"`
	ExecutionLogCacheFolder            string   `key:"ExecutionLogCacheFolder" doc:"accepted for old files, without effect: messages that no master has taken wait in the data directory"`
	ExecutionLogMaxBufferLogCount      int      `key:"ExecutionLogMaxBufferLogCount" default:"10000" min:"1" doc:"accepted for old files, without effect"`
	ExecutionLogMaxInMemoryBufferCount int      `key:"ExecutionLogMaxInMemoryBufferCount" default:"10" min:"1" doc:"accepted for old files, without effect"`
	ExecutionLogRetryCount             int      `key:"ExecutionLogRetryCount" default:"3" min:"0" doc:"accepted for old files, without effect: messages are kept until taken"`
	ExecutionLogRetryTimeout           Timespan `key:"ExecutionLogRetryTimeout" default:"7.00:00:00" doc:"accepted for old files, without effect: messages wait until they are taken"`
	AgentId                            string   `key:"AgentId" doc:"GUID of this worker; empty: made once and kept in the data directory"`
	DataDirectory                      string   `key:"DataDirectory" doc:"where this worker keeps its state"`
	LogFolder                          string   `key:"LogFolder" doc:"folder of the service log"`
	CACertFile                         string   `key:"CACertFile" doc:"ca.pem"`
	CertFile                           string   `key:"CertFile" doc:"cert.pem"`
	KeyFile                            string   `key:"KeyFile" doc:"key.pem"`
	Runners                            Runners  `key:"Runners" doc:"programs by extension, for example {\".py\": [\"python3\"]}"`
}

// NewWorker is the settings of a worker at their defaults; Load fills w.
func NewWorker(w *Worker) *Set {
	s := newSet(w, "SCALEOUT_WORKER_")
	s.check = func() []Problem {
		var out []Problem
		if len(w.MasterEndpoint) == 0 {
			out = append(out, s.missing("MasterEndpoint", "it must name at least one master"))
		}
		for _, e := range w.MasterEndpoint {
			u, err := url.Parse(e)
			if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
				out = append(out, s.Problem("MasterEndpoint", "%q is not of the form https://host:port", e))
			}
		}
		for _, f := range []struct{ key, value string }{
			{"DataDirectory", w.DataDirectory}, {"CACertFile", w.CACertFile}, {"CertFile", w.CertFile}, {"KeyFile", w.KeyFile},
		} {
			if f.value == "" {
				out = append(out, s.missing(f.key, "it must be set"))
			}
		}
		for _, t := range w.MasterHttpsCertThumbprint {
			if !thumbprint(strings.NewReplacer(" ", "", ":", "").Replace(t)) {
				out = append(out, s.Problem("MasterHttpsCertThumbprint", "%q is neither a SHA-1 nor a SHA-256 thumbprint", t))
			}
		}
		if w.LeaseInterval > w.HeartbeatErrorTolerance {
			out = append(out, s.Problem("LeaseInterval", "%v is more than HeartbeatErrorTolerance %v",
				time.Duration(w.LeaseInterval), time.Duration(w.HeartbeatErrorTolerance)))
		}
		return out
	}
	return s
}
