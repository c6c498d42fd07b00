// Package worker is the Scale Out Worker: it registers with the masters, asks them for work, runs packages each under a
// guard of its own (package guard), and reports.
//
// What it promises:
//
//   - What an earlier worker process left is adopted or gone before this one registers: no attempt is reported lost
//     that still runs.
//   - An attempt that was granted is run at most once here, however often the grant is delivered; its report is kept on
//     disk until a master took it (package spool).
//   - A grant with less than half its lease left is not taken up, and no package outlives what the masters allowed it:
//     renewals only move the guard's deadline.
//   - When the context of Run ends it drains: nothing new is asked for, what runs is finished and reported. [Worker.Kill]
//     ends what runs as well.
//
// It leaves to others which program runs a package (package runner) and how masters are talked to (the [Masters]
// interface; package client is one).
package worker
