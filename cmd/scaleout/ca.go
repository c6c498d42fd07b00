package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cluster/pki"
)

func (a *app) caCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ca", Short: "The cluster's own certificate authority"}
	cmd.AddCommand(
		&cobra.Command{
			Use: "init DIR", Short: "Make a certificate authority, and with it a cluster id, a gossip key and a key ring",
			Args:    cobra.ExactArgs(1),
			Example: "  scaleout ca init ca",
			RunE: func(cmd *cobra.Command, args []string) error {
				authority, err := pki.Init(args[0], time.Now())
				if err != nil {
					return err
				}
				if a.output == "json" {
					return a.object(cmd, []pair{{"cluster_id", authority.ClusterID()}, {"directory", args[0]}})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "cluster %s\nKeep %s safe: whoever has it can join the cluster.\n",
					authority.ClusterID(), args[0])
				return nil
			},
		},
		a.caIssue(), a.caRenew(), a.caRotate(), a.caRetire(), a.caList(),
	)
	return cmd
}

func (a *app) caIssue() *cobra.Command {
	var dir, out string
	var hosts, roles []string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use: "issue master|worker|user NAME --ca DIR --out FOLDER", Short: "Issue a certificate", Args: cobra.ExactArgs(2),
		Example: `  scaleout ca issue master master-1 --ca ca --out master-1 --host m1.example.com
  scaleout ca issue worker worker-1 --ca ca --out worker-1
  scaleout ca issue user anna --ca ca --out anna --role ssis_admin`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" || out == "" {
				return usagef("--ca and --out are needed")
			}
			authority, err := pki.OpenAuthority(dir)
			if err != nil {
				return err
			}
			issued, err := authority.Issue(pki.Request{
				Role: pki.Role(args[0]), Name: args[1], Hosts: hosts, Roles: roles, Lifetime: lifetime,
			}, time.Now())
			if err != nil {
				return &usageError{err}
			}
			if err := issued.WriteFiles(out); err != nil {
				return err
			}
			_, thumbprint := pki.Thumbprints(issued.Leaf)
			if a.output == "json" {
				return a.object(cmd, []pair{
					{"identity", issued.Identity.String()}, {"folder", out}, {"thumbprint", thumbprint},
					{"not_after", issued.Leaf.NotAfter.UTC()},
				})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s in %s\nthumbprint %s\nvalid until %s\n",
				issued.Identity, out, thumbprint, issued.Leaf.NotAfter.UTC().Format(time.RFC3339))
			// What is easily forgotten shows only when somebody is refused.
			switch issued.Identity.Role {
			case pki.RoleMaster:
				names := slices.Clone(issued.Leaf.DNSNames)
				for _, ip := range issued.Leaf.IPAddresses {
					names = append(names, ip.String())
				}
				fmt.Fprintf(cmd.OutOrStdout(), "reached as %s\n", strings.Join(names, ", "))
			case pki.RoleUser:
				fmt.Fprintf(cmd.OutOrStdout(), "roles %s\n", cmp.Or(strings.Join(issued.Identity.Roles, ", "),
					"none: see docs/roles.md"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "ca", "", "directory of the authority")
	cmd.Flags().StringVar(&out, "out", "", "folder for cert.pem, key.pem, ca.pem and, for a master, gossip.key and "+
		"keyring.json")
	cmd.Flags().StringArrayVar(&hosts, "host", nil, "DNS name or IP address of a master, besides its name; repeat")
	cmd.Flags().StringArrayVar(&roles, "role", nil, "SSISDB role of a user; repeat")
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "how long it is valid; default a year")
	return cmd
}
