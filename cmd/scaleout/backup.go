package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cluster/archive"
	"scaleout/cluster/backup"
	"scaleout/httpapi/client"
)

func (a *app) clusterBackup() *cobra.Command {
	cmd := &cobra.Command{Use: "backup", Short: "Backups of the whole cluster: save, inspect, verify, restore",
		SuggestFor: []string{"snapshot", "restore"}}
	cmd.AddCommand(a.backupSave(), a.backupInspect(), a.backupVerify(), a.backupRestore())
	return cmd
}

// ringSecret is what locks the key ring in a backup.
type ringSecret struct{ passphraseFile, keyFile string }

func (s *ringSecret) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.passphraseFile, "passphrase-file", "",
		"file with the passphrase of the key ring; - is standard input")
	cmd.Flags().StringVar(&s.keyFile, "key-file", "",
		"file with at least 32 random characters that locks the key ring (openssl rand -base64 32)")
	cmd.MarkFlagsMutuallyExclusive("passphrase-file", "key-file")
}

func (s *ringSecret) given() bool { return s.passphraseFile != "" || s.keyFile != "" }

func (s *ringSecret) derivation() string {
	if s.passphraseFile != "" {
		return archive.FromPassphrase
	}
	return archive.FromKeyFile
}

// read gives the secret without blanks around it.
func (s *ringSecret) read(in io.Reader) ([]byte, error) {
	secret, err := readSecret(in, cmp.Or(s.passphraseFile, s.keyFile))
	return []byte(strings.TrimSpace(secret)), err
}

// lock makes the lock of a new backup.
func (s *ringSecret) lock(in io.Reader) (l client.BackupLock, err error) {
	secret, err := s.read(in)
	if err != nil {
		return l, err
	}
	lock := archive.NewLock(s.derivation())
	if l.Key, err = lock.Key(secret); err != nil {
		return l, err
	}
	l.How, err = json.Marshal(lock)
	return l, err
}

// key makes the key of a backup that exists.
func (s *ringSecret) key(in io.Reader, part []byte) ([]byte, error) {
	lock, err := archive.LockOf(part)
	if err != nil {
		return nil, err
	}
	if lock.Derivation != s.derivation() {
		want := "--passphrase-file"
		if lock.Derivation == archive.FromKeyFile {
			want = "--key-file"
		}
		return nil, usagef("the key ring of this backup is locked with a %s: give %s", strings.TrimPrefix(want, "--"), want)
	}
	secret, err := s.read(in)
	if err != nil {
		return nil, err
	}
	return lock.Key(secret)
}

func (a *app) backupSave() *cobra.Command {
	var secret ringSecret
	var noBlobs, noRing bool
	cmd := &cobra.Command{
		Use: "save FILE", Short: "Write a backup of the running cluster to a file", Args: cobra.ExactArgs(1),
		Long: `Write a backup of the running cluster to a file: its state, its project files and messages, and its key ring,
without which sensitive values cannot be read again. The cluster goes on meanwhile. The file appears under its name when
it is complete and verified.

The key ring is locked with a passphrase or a key file that never leaves this machine. Keep it apart from the backup.
Values that are not sensitive are in clear in the file: it is for the eyes of administrators.`,
		Example: `  scaleout cluster backup save /backup/monday.tar --passphrase-file passphrase.txt
  scaleout cluster backup save state.tar --no-blobs --key-file backup.key`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if secret.given() == noRing {
				return usagef("say how the key ring is locked, --passphrase-file or --key-file, or leave it out with --no-key-ring")
			}
			var lock client.BackupLock
			if secret.given() {
				var err error
				if lock, err = secret.lock(cmd.InOrStdin()); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			err = archive.WriteFile(args[0], func(f *os.File) error {
				return c.Backup(cmd.Context(), !noBlobs, lock, func(r io.Reader) error {
					// An attempt before may have written a part of it.
					if _, err := f.Seek(0, io.SeekStart); err != nil {
						return err
					}
					if err := f.Truncate(0); err != nil {
						return err
					}
					_, err := io.Copy(f, r)
					return err
				})
			})
			if err != nil {
				return friendly(err)
			}
			return a.inspect(cmd, args[0])
		},
	}
	secret.flags(cmd)
	cmd.Flags().BoolVar(&noBlobs, "no-blobs", false,
		"leave project files and messages out; a restore lists what is missing")
	cmd.Flags().BoolVar(&noRing, "no-key-ring", false,
		"leave the key ring out: sensitive values are lost unless the new cluster has the ring of the old one's CA folder")
	return cmd
}

func (a *app) backupInspect() *cobra.Command {
	return &cobra.Command{
		Use: "inspect FILE", Short: "Show what is in a backup", Args: cobra.ExactArgs(1),
		Example: "  scaleout cluster backup inspect cluster.tar",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.inspect(cmd, args[0]) },
	}
}

// contents is what was found in a file.
type contents struct {
	backup.Contents
	size int64
}

// look reads a whole file.
func look(path string) (c contents, err error) {
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		c.size = st.Size()
	}
	if c.Contents, err = backup.Inspect(f); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (a *app) inspect(cmd *cobra.Command, path string) error {
	c, err := look(path)
	if err != nil {
		return err
	}
	ring := "none"
	if c.KeyRing != nil {
		lock, err := archive.LockOf(c.KeyRing)
		if err != nil {
			return err
		}
		ring = "locked with a passphrase"
		if lock.Derivation == archive.FromKeyFile {
			ring = "locked with a key file"
		}
	}
	if a.output == "json" {
		return printJSON(cmd, struct {
			archive.Metadata
			Bytes   int64    `json:"bytes"`
			Blobs   int      `json:"blob_count"`
			Ring    string   `json:"key_ring_lock"`
			Missing []string `json:"missing_blobs"`
		}{c.Metadata, c.size, c.Blobs, ring, append([]string{}, c.Absent...)})
	}
	var rows []string
	for name, n := range c.Metadata.Rows {
		if n > 0 {
			rows = append(rows, fmt.Sprintf("%s %d", name, n))
		}
	}
	slices.Sort(rows)
	if err := a.object(cmd, []pair{
		{"file", path}, {"taken", c.Metadata.Created.UTC().Format(time.RFC3339)}, {"cluster", c.Metadata.Cluster},
		{"by", c.Metadata.Master + ", version " + c.Metadata.Version},
		{"log index", c.Metadata.Index}, {"feature level", c.Metadata.Level}, {"bytes", c.size}, {"key ring", ring},
		{"blobs", c.Blobs}, {"blobs missing", len(c.Absent)}, {"rows", strings.Join(rows, ", ")},
	}); err != nil {
		return err
	}
	listMissing(cmd, c.Absent)
	return nil
}

func listMissing(cmd *cobra.Command, digests []string) {
	for _, d := range digests {
		fmt.Fprintf(cmd.OutOrStdout(), "missing  %s\n", d)
	}
}

func (a *app) backupVerify() *cobra.Command {
	var secret ringSecret
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Check every byte of a backup, and with its passphrase or key file the key ring",
		Args:    cobra.ExactArgs(1),
		Example: "  scaleout cluster backup verify cluster.tar",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := look(args[0])
			if err != nil {
				return err
			}
			ring := ""
			switch {
			case c.KeyRing == nil && secret.given():
				return errors.New("the backup holds no key ring")
			case secret.given():
				key, err := secret.key(cmd.InOrStdin(), c.KeyRing)
				if err != nil {
					return err
				}
				if _, err := archive.Unwrap(c.KeyRing, key, c.Metadata.Cluster); err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				ring = ", the key ring opens"
			case c.KeyRing != nil:
				ring = ", the key ring was not opened"
			}
			if a.output == "json" {
				return printJSON(cmd, map[string]any{"ok": true, "key_ring_opened": secret.given(),
					"missing_blobs": append([]string{}, c.Absent...)})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is whole: %d entries%s\n", args[0], c.Entries, ring)
			listMissing(cmd, c.Absent)
			return nil
		},
	}
	secret.flags(cmd)
	return cmd
}

func (a *app) backupRestore() *cobra.Command {
	var secret ringSecret
	var yes bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Restore a backup into a new, empty cluster", Args: cobra.ExactArgs(1),
		Long: `Restore a backup into a new, empty cluster. The whole file is verified before anything is touched, and then all
of it is restored or nothing.

All masters of the new cluster must run, and no worker may have registered yet. What ran when the backup was taken is
given up: its workers must have ended it before new ones are let in (see docs/operations.md).`,
		Example: "  scaleout cluster backup restore /backup/monday.tar --passphrase-file passphrase.txt --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := look(args[0])
			if err != nil {
				return err
			}
			var lock client.BackupLock
			switch {
			case c.KeyRing != nil && !secret.given():
				return usagef("the backup holds a key ring: give --passphrase-file or --key-file")
			case c.KeyRing != nil:
				if lock.Key, err = secret.key(cmd.InOrStdin(), c.KeyRing); err != nil {
					return err
				}
				if _, err := archive.Unwrap(c.KeyRing, lock.Key, c.Metadata.Cluster); err != nil {
					return err
				}
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if !yes {
				return usagef("%s, taken %s of cluster %s, is whole. --yes restores it", args[0],
					c.Metadata.Created.UTC().Format(time.RFC3339), c.Metadata.Cluster)
			}
			out, err := cl.Restore(cmd.Context(), lock, c.size, func() (io.ReadCloser, error) { return os.Open(args[0]) })
			if err != nil {
				return friendly(err)
			}
			if a.output == "json" {
				return printJSON(cmd, out)
			}
			if err := a.object(cmd, []pair{
				{"restored from", out.Cluster}, {"log index", out.Index}, {"blobs", out.Blobs}, {"key ring", out.KeyRing},
				{"blobs missing", len(out.Missing)},
			}); err != nil {
				return err
			}
			listMissing(cmd, out.Missing)
			return nil
		},
	}
	secret.flags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}
