// Package demo is the load of 'scaleout demo': it starts many executions on a cluster of this machine (package dev),
// kills the leader with SIGKILL when a third have succeeded, and counts what ran.
//
// What it promises: [Result.Good] is true only if every execution succeeded and its package ran exactly once, counted
// by what the packages themselves wrote and not by what the catalog says.
//
// What it leaves to others: the cluster, the deployed project, and showing progress and result (cmd/scaleout).
package demo
