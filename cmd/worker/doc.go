// Package worker is the Scale Out Worker: it registers with the masters, asks them for work, runs each package under a
// guard of its own (package guard), and reports.
//
// What it promises:
//
//   - Before it registers, every package that an earlier worker process left is adopted or has ended. So no attempt is
//     reported as lost while it still runs.
//   - It runs a granted attempt at most once, however often the grant is delivered. It keeps the report on disk until a
//     master has taken it (package spool).
//   - It does not take a grant with less than half of its lease left. No package runs longer than the masters allow:
//     renewals only move the guard's deadline.
//   - It drains when the context of Run ends: it asks for nothing new, and finishes and reports what runs.
//     [Worker.Kill]
//     also ends what runs, and [Worker.Leave] leaves it to the guards.
//
// It leaves to others which program runs a package (package runner) and how the masters are called (the [Masters]
// interface, which package client implements).
package worker
