package main

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cluster/pki"
)

func (a *app) caRotate() *cobra.Command {
	return withAuthority(&cobra.Command{
		Use: "rotate --ca DIR", Short: "Make a new CA beside the old one, without an interruption", Args: cobra.NoArgs,
		Long: `Make a new CA beside the old one. What is issued from now on is signed by the new one and accepted by everybody
who knows only the old one; whoever is renewed accepts both. So renew every certificate ('ca renew'), in any order,
while everything runs, and then retire the old CA ('ca retire').`,
		Example: `  scaleout ca rotate --ca ca
  scaleout ca renew certs/* --ca ca      # and copy each folder to its machine
  scaleout ca retire --ca ca certs/*
  scaleout ca renew certs/* --ca ca      # takes the old CA out of everybody's ca.pem`,
	}, func(cmd *cobra.Command, authority *pki.Authority, _ []string) error {
		if err := authority.Rotate(time.Now()); err != nil {
			return err
		}
		return a.showCAs(cmd, authority)
	})
}

func (a *app) caRetire() *cobra.Command {
	return withAuthority(&cobra.Command{
		Use: "retire --ca DIR [FOLDER]…", Short: "Drop the oldest CA once nothing is signed by it any more",
		Long: `Drop the oldest CA. Certificates that it signed are refused as soon as nodes have the new ca.pem, so name the
folders of all certificates: it is refused while one of them still needs the old CA.`,
		Example: "  scaleout ca retire --ca ca certs/*",
	}, func(cmd *cobra.Command, authority *pki.Authority, folders []string) error {
		roots := authority.Roots()
		oldest := roots[len(roots)-1]
		for _, folder := range folders {
			leaf, err := pki.ReadCertificate(filepath.Join(folder, pki.FileCert))
			if err != nil {
				return fmt.Errorf("%s: %w", folder, err)
			}
			if signedBy(leaf, oldest) {
				return fmt.Errorf("%s was issued by the CA that is to be retired; 'scaleout ca renew %s --ca %s' renews it", folder,
					folder, cmd.Flag("ca").Value)
			}
		}
		if _, err := authority.Retire(); err != nil {
			return err
		}
		return a.showCAs(cmd, authority)
	})
}

func (a *app) caRenew() *cobra.Command {
	var lifetime, before time.Duration
	cmd := withAuthority(&cobra.Command{
		Use: "renew FOLDER… --ca DIR", Short: "Issue the certificates of folders again, as they are",
		Args: cobra.MinimumNArgs(1),
		Long: `Issue the certificate of each folder again: the same name, role, hosts and database roles, a new key, signed by
the newest CA, with the CAs that are to be trusted now. A node that watches the folder takes it up within seconds and
needs no restart.`,
		Example: `  scaleout ca renew certs/master-1 --ca ca
  scaleout ca renew certs/* --ca ca --within 720h      # those that end within 30 days`,
	}, func(cmd *cobra.Command, authority *pki.Authority, folders []string) error {
		now := time.Now()
		var rows [][]any
		for _, folder := range folders {
			leaf, err := pki.ReadCertificate(filepath.Join(folder, pki.FileCert))
			if err != nil {
				return fmt.Errorf("%s: %w", folder, err)
			}
			row := []any{folder, leaf.Subject.CommonName, "kept", leaf.NotAfter.UTC().Format(time.RFC3339)}
			if before <= 0 || leaf.NotAfter.Sub(now) < before {
				issued, err := renew(authority, leaf, lifetime, now)
				if err != nil {
					return fmt.Errorf("%s: %w", folder, err)
				}
				if err := issued.WriteFiles(folder); err != nil {
					return err
				}
				row[2], row[3] = "renewed", issued.Leaf.NotAfter.UTC().Format(time.RFC3339)
			}
			rows = append(rows, row)
		}
		if a.output == "json" {
			out := []map[string]any{}
			for _, r := range rows {
				out = append(out, map[string]any{"folder": r[0], "name": r[1], "result": r[2], "not_after": r[3]})
			}
			return printJSON(cmd, out)
		}
		a.table(cmd, heads("Folder", "Name", "Result", "Valid until"), rows)
		return nil
	})
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "how long they are valid; default a year")
	cmd.Flags().DurationVar(&before, "within", 0, "only certificates that end within this time; 0: all")
	return cmd
}

// caList shows what is trusted and, of folders, what is in use.
func (a *app) caList() *cobra.Command {
	return withAuthority(&cobra.Command{
		Use: "list --ca DIR [FOLDER]…", Short: "Show the CAs, and the certificates of folders",
		Example: "  scaleout ca list --ca ca certs/*",
	}, func(cmd *cobra.Command, authority *pki.Authority, folders []string) error {
		return a.showCAs(cmd, authority, folders...)
	})
}

// withAuthority makes run a verb of the authority that --ca names and of the certificates' folders among its arguments.
func withAuthority(cmd *cobra.Command, run func(*cobra.Command, *pki.Authority, []string) error) *cobra.Command {
	var dir string
	cmd.Flags().StringVar(&dir, "ca", "", "directory of the authority")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if dir == "" {
			return usagef("--ca is needed: the directory that 'scaleout ca init' made")
		}
		authority, err := pki.OpenAuthority(dir)
		if err != nil {
			return err
		}
		folders, err := certificateFolders(args, dir)
		if err != nil {
			return err
		}
		return run(cmd, authority, folders)
	}
	return cmd
}

// certificateFolders removes what a shell pattern such as certs/* matches besides certificate folders: plain files, and
// the folder of the authority itself.
func certificateFolders(args []string, authority string) ([]string, error) {
	own, err := os.Stat(authority)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, folder := range args {
		info, err := os.Stat(folder)
		if err != nil {
			return nil, err
		}
		if info.IsDir() && !os.SameFile(info, own) {
			out = append(out, folder)
		}
	}
	return out, nil
}

// renew issues a certificate with the same content and a new key.
func renew(authority *pki.Authority, leaf *x509.Certificate, lifetime time.Duration,
	now time.Time) (*pki.Issued, error) {
	id, err := pki.IdentityOf(leaf)
	if err != nil {
		return nil, err
	}
	if id.Cluster != authority.ClusterID() {
		return nil, fmt.Errorf("%s is of cluster %s, and this authority of %s", id, id.Cluster, authority.ClusterID())
	}
	hosts := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return authority.Issue(pki.Request{Role: id.Role, Name: id.Name, Hosts: hosts, Roles: id.Roles, Lifetime: lifetime},
		now)
}

func signedBy(leaf, ca *x509.Certificate) bool {
	return bytes.Equal(leaf.AuthorityKeyId, ca.SubjectKeyId)
}

type caReport struct {
	Kind       string    `json:"kind"` // ca or certificate
	Name       string    `json:"name"`
	Thumbprint string    `json:"thumbprint"`
	NotAfter   time.Time `json:"not_after"`
	IssuedBy   string    `json:"issued_by,omitempty"` // thumbprint of the CA
	Folder     string    `json:"folder,omitempty"`
}

// showCAs prints the CAs, newest first, and the certificates of folders.
func (a *app) showCAs(cmd *cobra.Command, authority *pki.Authority, folders ...string) error {
	var list []caReport
	for _, ca := range authority.Roots() {
		_, print := pki.Thumbprints(ca)
		list = append(list, caReport{Kind: "ca", Name: ca.Subject.CommonName, Thumbprint: print, NotAfter: ca.NotAfter.UTC()})
	}
	for _, folder := range folders {
		leaf, err := pki.ReadCertificate(filepath.Join(folder, pki.FileCert))
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		_, print := pki.Thumbprints(leaf)
		r := caReport{Kind: "certificate", Name: leaf.Subject.CommonName, Thumbprint: print, NotAfter: leaf.NotAfter.UTC(),
			Folder: folder}
		for _, ca := range authority.Roots() {
			if signedBy(leaf, ca) {
				_, r.IssuedBy = pki.Thumbprints(ca)
			}
		}
		list = append(list, r)
	}
	if a.output == "json" {
		return printJSON(cmd, list)
	}
	var body [][]any
	for _, r := range list {
		by := r.IssuedBy
		if r.Kind == "certificate" && by == "" {
			by = "a CA that is not here any more"
		}
		body = append(body, []any{r.Kind, r.Name, short(r.Thumbprint), r.NotAfter.Format(time.DateOnly), short(by), r.Folder})
	}
	a.table(cmd, heads("Kind", "Name", "Thumbprint", "Valid until", "Issued by", "Folder"), body)
	return nil
}

// short is the beginning of a thumbprint: enough to tell a handful of CAs apart.
func short(print string) string {
	if strings.Contains(print, " ") || len(print) <= 16 {
		return print
	}
	return print[:16] + "…"
}
