package wire

// The headers of a backup. The caller derives the key that wraps the key ring, so that the passphrase never leaves it.
const (
	// HeaderBackupKey is the wrapping key in base64. It is a secret and must not be logged.
	HeaderBackupKey = "Scaleout-Backup-Key"
	// HeaderBackupLock says how to derive the key again: JSON in base64. It becomes part of the file.
	HeaderBackupLock = "Scaleout-Backup-Lock"
)

// ContentBackup is the media type of a backup.
const ContentBackup = "application/x-tar"

// Restored is the result of a restore.
type Restored struct {
	Cluster  string   `json:"from_cluster_id"` // of the backup
	Index    uint64   `json:"from_index"`      // of the backup
	Blobs    int      `json:"blobs"`           // how many were stored from the backup
	KeyRing  bool     `json:"key_ring"`        // the backup's key ring was added
	Missing  []string `json:"missing_blobs"`   // blobs that the state names and no master has
	NewIndex uint64   `json:"index"`           // the index at which this cluster continues
}
