package testcluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"scaleout/cluster/pki"
	"scaleout/httpapi/client"
)

// As returns an HTTP client with a certificate of this cluster, for calls that the client library would not make.
func (c *Cluster) As(role pki.Role, name string, roles ...string) *http.Client {
	c.tb.Helper()
	return c.bare(c.Folder(role, name, roles...))
}

// Folder returns the folder of a certificate of this cluster. The first call issues the certificate.
func (c *Cluster) Folder(role pki.Role, name string, roles ...string) string {
	c.tb.Helper()
	folder := filepath.Join(c.dir, "certs", name)
	if _, err := os.Stat(folder); err != nil {
		c.issue(role, name, roles...)
	}
	return folder
}

// Nobody returns an HTTP client without a certificate.
func (c *Cluster) Nobody() *http.Client { return c.bare("") }

// Stranger returns an HTTP client with an administrator's certificate of another cluster.
func (c *Cluster) Stranger() *http.Client {
	c.tb.Helper()
	other, err := pki.Init(filepath.Join(c.dir, "other-ca"), time.Now())
	c.must(err)
	request := pki.Request{Role: pki.RoleUser, Name: "stranger", Roles: []string{"ssis_admin"}}
	issued, err := other.Issue(request, time.Now())
	c.must(err)
	folder := filepath.Join(c.dir, "certs", "stranger")
	c.must(issued.WriteFiles(folder))
	return c.bare(folder)
}

// bare returns an HTTP client that trusts this cluster's masters and shows the certificate of any folder, or none.
func (c *Cluster) bare(folder string) *http.Client {
	c.tb.Helper()
	raw, err := os.ReadFile(files(c.node(0).certs).CA)
	c.must(err)
	conf := &tls.Config{RootCAs: x509.NewCertPool()}
	conf.RootCAs.AppendCertsFromPEM(raw)
	if folder != "" {
		pair, err := tls.LoadX509KeyPair(files(folder).Cert, files(folder).Key)
		c.must(err)
		// The certificate is shown even to a master that asks only for certificates of its own cluster.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := client.NewTransport(conf)
	c.mu.Lock()
	c.closers = append(c.closers, transport.CloseIdleConnections)
	c.mu.Unlock()
	return httpClient(transport)
}

// watch loads new certificate files, as a running worker or master does, until the function that it returns is
// called.
func watch(creds *pki.Credentials) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = creds.Run(ctx) })
	return func() { cancel(); group.Wait() }
}

// Renew issues the certificate in a folder again, for the same identity.
func (c *Cluster) Renew(folder string) {
	c.tb.Helper()
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: files(folder), Logger: c.log})
	c.must(err)
	id := creds.Identity()
	c.issue(id.Role, id.Name, id.Roles...)
}

// CertificateFolders returns the folders of all certificates of this cluster.
func (c *Cluster) CertificateFolders() []string {
	c.tb.Helper()
	folders, err := filepath.Glob(filepath.Join(c.dir, "certs", "*"))
	c.must(err)
	return folders
}
