package worker

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"scaleout/cluster/pki"
	"scaleout/httpapi/client"
)

// Connect makes the client by which a worker with these credentials talks to the masters of MasterEndpoint, a
// comma-separated list. Its certificate and the CAs are those of the moment, so that both can be replaced while the
// worker runs.
func Connect(endpoints string, creds *pki.Credentials, log *slog.Logger) (*client.Client, error) {
	const alpn = "http/1.1"
	transport := client.NewRenewing(creds.Changed, func() *http.Transport {
		t := client.NewTransport(creds.ClientTLS(alpn))
		t.DialTLSContext = creds.DialTLS(t.DialContext, alpn)
		return t
	})
	return client.New(client.Config{
		Masters: strings.Split(endpoints, ","),
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		UserAgent: "scaleout-worker",
		Logger:    log,
		// The worker comes back by itself, and with news: a call must not go on for long with old ones.
		Patience: 5 * time.Second,
	})
}
