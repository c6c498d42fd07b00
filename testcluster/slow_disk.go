package testcluster

import (
	"time"

	"github.com/hashicorp/raft"

	"scaleout/store"
)

// SlowDisk makes each write of entries to a master's log take d longer; for masters in processes.
func SlowDisk(d time.Duration) Option { return func(c *Cluster) { c.slowDisk = d } }

// slowLog is a log whose disk is slow.
type slowLog struct {
	store.LogStore
	by time.Duration
}

func slowed(by time.Duration) store.Options {
	if by == 0 {
		return store.Options{}
	}
	return store.Options{WrapLog: func(l store.LogStore) store.LogStore { return &slowLog{l, by} }}
}

// wait sleeps in small steps: a process that is paused meanwhile continues with the remaining ones.
func (s *slowLog) wait() {
	const parts = 20
	for range parts {
		time.Sleep(s.by / parts)
	}
}

func (s *slowLog) StoreLog(l *raft.Log) error {
	s.wait()
	return s.LogStore.StoreLog(l)
}

func (s *slowLog) StoreLogs(l []*raft.Log) error {
	s.wait()
	return s.LogStore.StoreLogs(l)
}
