// Package dev runs a whole cluster on this machine: masters and workers as child processes of this one, with real
// certificates, real settings files and real disks. Its doors are [Start] and what a [Cluster] does, and, for another
// process on the same data directory, [Status] and [Restart].
//
// What it promises:
//
//   - After Start returned, every master is ready and every worker is enabled; after its error, nothing runs.
//   - One process at a time runs on a data directory, and the next one resumes it: identities, certificates and what
//     a person wrote into the settings files stay.
//   - Nothing is started unless all ports are free.
//   - Workers end before masters, and no child outlives this process (package process).
//
// What it leaves to others: flags, and what is shown to a person (cmd/scaleout); the demonstration (package demo).
package dev
