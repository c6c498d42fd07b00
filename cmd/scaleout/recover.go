package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cluster/recovery"
	"scaleout/cmd/scaleout/settings"
	"scaleout/fsm/catalog"
	"scaleout/store"
)

func (a *app) clusterRecover() *cobra.Command {
	var config, data, copyTo string
	var yes bool
	cmd := &cobra.Command{
		Use: "recover", Short: "Go on with one master when most of the others are lost for good", Args: cobra.NoArgs,
		Long: `Go on with one master when most of the others are lost for good and the cluster cannot decide any more.

Run it on the stopped master with the most log entries. Without --yes it only says what that master has and what may be
lost. With --yes it copies the data directory first, then makes this master the only member; other masters join again
with empty data directories. See docs/operations.md.`,
		Example: `  scaleout cluster recover --config MasterSettings.config
  scaleout cluster recover --data /var/lib/scaleout --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := recoverFolder(config, data)
			if err != nil {
				return err
			}
			if _, err := os.Stat(path); err != nil {
				return err
			}
			r, err := recovery.Inspect(path, a.logger())
			if errors.Is(err, store.ErrLocked) {
				held, _, _ := strings.Cut(err.Error(), "; ") // what follows is advice to a master
				return fmt.Errorf("%s; stop the master first", held)
			}
			if err != nil {
				return err
			}
			describeRemains(cmd.OutOrStdout(), path, r)
			if copyTo == "" {
				copyTo = strings.TrimRight(path, `/\`) + ".before-recover-" + time.Now().UTC().Format("20060102T150405Z")
			}
			if !yes {
				fmt.Fprintf(cmd.OutOrStdout(), "\nNothing was changed. --yes copies the directory to %s and makes this master "+
					"the only member.\n", copyTo)
				return nil
			}
			if _, err := recovery.Recover(path, copyTo, a.logger()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), `
Done. The directory as it was before is in %s.
Now: 1. empty the data directories of all other masters, also of those that you believe lost
     2. start this master and look at 'scaleout cluster status'
     3. start the others one by one; each joins as a new master and becomes a voter by itself
`, copyTo)
			return nil
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "settings file of the master")
	cmd.Flags().StringVar(&data, "data", "", "its data directory")
	cmd.Flags().StringVar(&copyTo, "copy", "", "where the data directory is copied to first; default: beside it")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func recoverFolder(config, data string) (string, error) {
	switch {
	case (config == "") == (data == ""):
		return "", usagef("say which master: --config with its settings file, or --data with its data directory")
	case data != "":
		return data, nil
	}
	var m settings.Master
	if err := settings.NewMaster(&m).Load(config, os.LookupEnv); err != nil {
		return "", settingsError(err)
	}
	return m.DataDirectory, nil
}

// describeRemains says in plain words what there is and what may be lost.
func describeRemains(w io.Writer, path string, r recovery.Remains) {
	name := r.Self.Name
	if name == "" {
		name = "a master without a known name"
	}
	fmt.Fprintf(w, "%s (%s), node %s of cluster %s\n", path, name, r.ID, r.Cluster)
	fmt.Fprintf(w, "It has %d log entries; the newest is of %s.\n", r.LastIndex, r.Time.Format(time.RFC3339))
	var others []string
	for _, m := range r.Members {
		if m.ID != r.ID {
			label := m.Name
			if label == "" {
				label = m.ID
			}
			others = append(others, label+" at "+m.Address)
		}
	}
	if len(others) == 0 {
		fmt.Fprintln(w, "It is the only member already: just start it.")
	} else {
		fmt.Fprintf(w, "The other members: %s.\n", strings.Join(others, ", "))
	}
	running, pending := 0, 0
	for range r.State.InStatus(catalog.Running) {
		running++
	}
	for range r.State.InStatus(catalog.Pending) {
		pending++
	}
	fmt.Fprintf(w, "By its state %d executions run and %d wait.\n\n", running, pending)
	fmt.Fprintf(w, `What may be lost when it goes on alone:
- everything that the others agreed on and this one was not told: executions, deployments and results after entry %d
- the promise that nothing runs twice, for tasks given out after that entry: end what still runs on the workers first
What may come to be: commands that were under way and that nobody was told had succeeded.
What must not happen: another master starting with its old data. Two of them would make a second cluster.
`, r.LastIndex)
	if len(r.Missing) > 0 {
		fmt.Fprintf(w, "It lacks %d project files or message segments that no other master can give it any more:\n",
			len(r.Missing))
		for _, d := range r.Missing {
			fmt.Fprintf(w, "missing  %s\n", d)
		}
	}
}
