package wire

import (
	"strings"
	"time"
)

// Leader is the leader that the answering master believes in.
type Leader struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Address string    `json:"address"` // https://host:port
	Term    uint64    `json:"term"`
	Since   time.Time `json:"since"` // when the answering master first heard of this leader in this term
}

// Peers are the addresses ("host:port") of the voters.
type Peers []string

// The roles of a Member.
const (
	RoleVoter    = "voter"
	RoleNonvoter = "nonvoter"
)

// ClusterStatus is the cluster as its leader sees it.
type ClusterStatus struct {
	ClusterID        string              `json:"cluster_id"`
	Index            uint64              `json:"index"`
	Term             uint64              `json:"term"`
	Level            int                 `json:"level"`             // the feature level of the state
	FailureTolerance int                 `json:"failure_tolerance"` // how many healthy voters may still fail
	Members          []Member            `json:"members"`
	Warnings         []string            `json:"warnings"`
	Settings         []SettingDifference `json:"settings"` // that differ between masters; the leader's values count
}

// Member is one master.
type Member struct {
	ID                  string     `json:"id"`
	Name                string     `json:"name"`
	Address             string     `json:"address"`
	Role                string     `json:"role"`
	Leader              bool       `json:"leader"`
	Health              string     `json:"health"` // "healthy", or the problem
	LagEntries          uint64     `json:"lag_entries"`
	LastContactMs       int64      `json:"last_contact_ms"` // -1: the leader has not heard from it
	Version             string     `json:"version"`
	Level               int        `json:"level"`
	CertificateNotAfter *time.Time `json:"certificate_not_after"`
	DiskFreeBytes       int64      `json:"disk_free_bytes"` // -1: unknown
	MissingBlobs        int        `json:"missing_blobs"`
	DamagedBlobs        int        `json:"damaged_blobs"` // found on its disk since it started, including repaired ones
}

// HealthSilent is the beginning of the Health of a member that did not answer the leader.
const HealthSilent = "does not answer"

// Answers reports whether the member answered the leader, healthy or not.
func (m Member) Answers() bool { return !strings.HasPrefix(m.Health, HealthSilent) }

// SettingDifference is a setting whose value differs between masters. The keys of Values are the names of masters.
type SettingDifference struct {
	Name   string            `json:"name"`
	Values map[string]string `json:"values"`
}

// Transfer asks for a new leader. If To is empty, the leader chooses.
type Transfer struct {
	To string `json:"to"` // id or name
}

// StateHash is the hash of one node's state after the entry with this index.
type StateHash struct {
	Index uint64 `json:"index"`
	Hash  string `json:"hash"`
}

// Ready is the answer of /readyz?verbose.
type Ready struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// CheckMember is the name of the check that fails on a master that was removed from its cluster.
const CheckMember = "member"

// Check is one named condition of readiness.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// Blob is the answer to a stored blob.
type Blob struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}
