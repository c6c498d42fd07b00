package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

func (a *app) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "The masters: status, members, hand over, leave, remove"}
	cmd.AddCommand(a.clusterStatus(), a.clusterMembers(), a.clusterLeave(), a.clusterRemove(), a.clusterTransfer(),
		a.clusterBackup(), a.clusterRecover(), a.clusterDebug())
	return cmd
}

func (a *app) clusterStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show who leads, how the masters are and what could fail", Args: cobra.NoArgs,
		Example: "  scaleout cluster status\n  scaleout cluster status -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, led, err := a.status(cmd.Context())
			if err != nil {
				return err
			}
			if a.output == "json" {
				return errors.Join(printJSON(cmd, s), led)
			}
			leader := "none"
			voters, answer := 0, 0
			for _, m := range s.Members {
				if m.Leader {
					leader = m.Name
				}
				if m.Role == wire.RoleVoter {
					voters++
					if word, _ := healthWord(m.Health); word != "does not answer" {
						answer++
					}
				}
			}
			may := tolerance(s.FailureTolerance, voters)
			if led != nil {
				may = fmt.Sprintf("none: %d of %d voters answer, %d are needed", answer, voters, voters/2+1)
			}
			if err := a.object(cmd, []pair{
				{"cluster", s.ClusterID}, {"leader", leader}, {"term", s.Term}, {"index", s.Index}, {"feature level", s.Level},
				{"failure tolerance", may},
			}); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout())
			a.members(cmd, s.Members)
			fmt.Fprintln(cmd.OutOrStdout())
			for _, m := range s.Members {
				if _, detail := healthWord(m.Health); detail != "" {
					sayf(cmd.OutOrStdout(), "%s: %s", m.Name, m.Health)
				}
			}
			for _, d := range s.Settings {
				var values []string
				for _, m := range s.Members {
					if v, ok := d.Values[m.Name]; ok {
						values = append(values, m.Name+" "+v)
					}
				}
				sayf(cmd.OutOrStdout(), "setting %s differs: %s (the leader's counts)", d.Name, strings.Join(values, ", "))
			}
			for _, w := range s.Warnings {
				sayf(cmd.OutOrStdout(), "warning: %s", w)
			}
			return led
		},
	}
}

// tolerance writes the number of failures that the cluster survives as a sentence, since a bare 0 is easily overlooked.
func tolerance(n, voters int) string {
	switch {
	case n > 1:
		return fmt.Sprintf("%d more masters may fail", n)
	case n == 1:
		return "1 more master may fail"
	case voters == 1:
		return "0: a cluster of one stops with its master"
	}
	return "0: if one more master fails, the cluster stops"
}

func (a *app) clusterMembers() *cobra.Command {
	return &cobra.Command{
		Use: "members", Short: "List the masters", Args: cobra.NoArgs,
		Example: "  scaleout cluster members",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, led, err := a.status(cmd.Context())
			if err != nil {
				return err
			}
			if a.output == "json" {
				return errors.Join(printJSON(cmd, s.Members), led)
			}
			a.members(cmd, s.Members)
			return led
		},
	}
}

func (a *app) members(cmd *cobra.Command, members []wire.Member) {
	body := make([][]any, len(members))
	led := slices.ContainsFunc(members, func(m wire.Member) bool { return m.Leader })
	for i, m := range members {
		leads := ""
		if m.Leader {
			leads = "leads"
		}
		contact := "never"
		if m.LastContactMs >= 0 {
			contact = rounded(time.Duration(m.LastContactMs) * time.Millisecond).String()
		}
		if m.Leader || !led {
			contact = "" // a leader's knowledge of the others
		}
		expires := ""
		if m.CertificateNotAfter != nil {
			expires = m.CertificateNotAfter.UTC().Format(time.DateOnly)
		}
		health, _ := healthWord(m.Health)
		good := show.Bad
		if health == "healthy" {
			good = show.Good
		}
		level := ""
		if m.Level > 0 {
			level = strconv.Itoa(m.Level)
		}
		free := ""
		if m.DiskFreeBytes >= 0 {
			free = fmt.Sprintf("%.1f GiB", float64(m.DiskFreeBytes)/(1<<30))
		}
		body[i] = []any{m.Name, m.Role, leads, show.Cell{Text: health, Tone: good}, m.Address, m.LagEntries, contact,
			m.Version, level, expires,
			free, m.MissingBlobs, m.ID}
	}
	a.table(cmd, []show.Column{
		{Head: "Name"}, {Head: "Role"}, {Head: "Leader"}, {Head: "Health", Wrap: true}, {Head: "Address", Drop: 2},
		{Head: "Lag", Right: true, Drop: 3},
		{Head: "Last contact", Right: true, Drop: 5}, {Head: "Version", Drop: 6}, {Head: "Level", Right: true, Drop: 8},
		{Head: "Certificate until", Drop: 4},
		{Head: "Disk free", Right: true, Drop: 7}, {Head: "Missing blobs", Right: true, Drop: 9}, {Head: "Id", Wide: true},
	}, body)
}

// healthWord separates the word that fits into a table from the reason.
func healthWord(health string) (word, detail string) {
	word, detail, _ = strings.Cut(health, ": ")
	return word, detail
}

// status returns the cluster as its leader sees it. If no master leads, led is false and the status is what one master
// sees: an operator then needs to know which masters do not answer.
func (a *app) status(ctx context.Context) (s wire.ClusterStatus, led, err error) {
	c, err := a.client()
	if err != nil {
		return s, nil, err
	}
	if s, err = c.Cluster(ctx); err == nil || !errors.Is(err, client.ErrNoLeader) {
		return s, nil, friendly(err)
	}
	seen, stale := c.ClusterStale(ctx)
	if stale != nil {
		return s, nil, friendly(err)
	}
	return seen, &statusError{exitUnreachable,
		errors.New("no master leads: a majority of the voters must run and reach each other. " +
			"Nothing is lost meanwhile; start those that do not answer")}, nil
}

func (a *app) clusterLeave() *cobra.Command {
	return &cobra.Command{
		Use: "leave NAME|ID", Short: "Take a running master out of the cluster for good, before it is stopped",
		Args: cobra.ExactArgs(1),
		Long: `Take a running master out of the cluster for good, before it is stopped. If it leads, it hands leadership over
first. It is refused when data would be held by fewer than a majority of the masters that remain.

Stopping a master is not leaving: a master that was stopped is still a member and comes back when it is started.`,
		Example:           "  scaleout cluster leave master-3",
		ValidArgsFunction: a.complete(memberNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.removeMember(cmd, args[0], false, func(m wire.Member) error {
				if m.Health != "healthy" {
					return fmt.Errorf("%s is not healthy (%s): 'scaleout cluster remove %s' removes a master that will not come back",
						m.Name, m.Health, m.Name)
				}
				return nil
			})
		},
	}
}

func (a *app) clusterRemove() *cobra.Command {
	var force, yes bool
	cmd := &cobra.Command{
		Use: "remove NAME|ID", Short: "Remove a master that will not come back", Args: cobra.ExactArgs(1),
		Long: `Remove a master that will not come back. One that still answers is better taken out with 'scaleout cluster
leave', so that is asked first; without a terminal it is refused. --yes removes it without a question.`,
		Example:           "  scaleout cluster remove master-3\n  scaleout cluster remove 6b1d… --force",
		ValidArgsFunction: a.complete(memberNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.removeMember(cmd, args[0], force, func(m wire.Member) error {
				if yes || !m.Answers() {
					return nil
				}
				return confirm(cmd, fmt.Sprintf("%s is running; 'scaleout cluster leave %s' takes a running master out in order",
					m.Name, m.Name),
					"remove it all the same")
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "remove it without a question, even if it answers")
	cmd.Flags().BoolVar(&force, "force", false,
		"even if blobs lose their majority or the cluster stops until more masters come back")
	return cmd
}

func (a *app) removeMember(cmd *cobra.Command, name string, force bool, check func(wire.Member) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	m, err := member(cmd.Context(), c, name)
	if err != nil {
		return friendly(err)
	}
	if check != nil {
		if err := check(m); err != nil {
			return err
		}
	}
	// A leader that is to go hands leadership over and sends the call on to its successor: the client tries again.
	if err := c.RemoveMember(cmd.Context(), m.ID, force); err != nil {
		return friendly(err)
	}
	return a.done(cmd, []pair{{"removed", m.ID}, {"name", m.Name}},
		"%s is no member any more; to come back it must start with an empty data directory.", m.Name)
}

func (a *app) clusterTransfer() *cobra.Command {
	return &cobra.Command{
		Use: "transfer-leadership [NAME|ID]", Short: "Hand leadership to another master", Args: cobra.MaximumNArgs(1),
		Example:           "  scaleout cluster transfer-leadership\n  scaleout cluster transfer-leadership master-2",
		ValidArgsFunction: a.complete(memberNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			to := ""
			if len(args) == 1 {
				m, err := member(cmd.Context(), c, args[0])
				if err != nil {
					return friendly(err)
				}
				to = m.ID
			}
			l, err := c.Transfer(cmd.Context(), to)
			if err != nil {
				return friendly(err)
			}
			return a.done(cmd, []pair{{"leader", l.Name}, {"address", l.Address}, {"term", l.Term}}, "%s leads, term %d, at %s",
				l.Name, l.Term, l.Address)
		},
	}
}

// member finds a master by name or id; the beginning of an id will do when only one begins so.
func member(ctx context.Context, c *client.Client, nameOrID string) (wire.Member, error) {
	s, err := c.Cluster(ctx)
	if err != nil {
		return wire.Member{}, err
	}
	var found, begin []wire.Member
	var names []string
	for _, m := range s.Members {
		if m.Role != wire.RoleVoter && m.Role != wire.RoleNonvoter {
			continue // it left and still runs
		}
		names = append(names, m.Name)
		switch {
		case sqltype.EqualText(m.ID, nameOrID):
			return m, nil
		case sqltype.EqualText(m.Name, nameOrID):
			found = append(found, m)
		case len(nameOrID) >= 6 && strings.HasPrefix(sqltype.Fold(m.ID), sqltype.Fold(nameOrID)):
			begin = append(begin, m)
		}
	}
	if len(found) == 0 {
		found = begin
	}
	switch len(found) {
	case 0:
		return wire.Member{}, fmt.Errorf("there is no master %q%s", nameOrID, registry.Hint(nameOrID, names))
	case 1:
		return found[0], nil
	}
	return wire.Member{}, fmt.Errorf("%d masters are called %q; use the id", len(found), nameOrID)
}
