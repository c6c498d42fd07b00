package worker

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"scaleout/cluster/pki"
	"scaleout/httpapi/client"
)

// Connect returns the client of a worker with these credentials. The endpoints are MasterEndpoint's comma-separated
// list. Each new connection uses the certificate and the CAs of that moment, so that both can be replaced while the
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
		// The worker calls again by itself, and then with newer content: no call should go on for long with old content.
		Timeout: 5 * time.Second,
	})
}
