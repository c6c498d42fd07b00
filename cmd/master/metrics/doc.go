// Package metrics has the Prometheus metrics of a master as a whole: its build, readiness, certificates, disk and
// blobs, and what the state has counted of executions. All are read when they are scraped.
//
// It promises that a scrape waits a second at most. What a room of the cluster measures of itself, that room registers.
package metrics
