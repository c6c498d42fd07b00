package wire

// Headers of a backup. The key that wraps the key ring is made by the caller, so that its passphrase stays with it.
const (
	// HeaderBackupKey is the wrapping key, base64. It is a secret: nobody logs it.
	HeaderBackupKey = "Scaleout-Backup-Key"
	// HeaderBackupLock says how the key is made again, base64 of JSON; it becomes part of the file.
	HeaderBackupLock = "Scaleout-Backup-Lock"
)

// ContentBackup is the media type of a backup.
const ContentBackup = "application/octet-stream"

// Restored is what became of a restore.
type Restored struct {
	Cluster  string   `json:"from_cluster_id"` // the backup's
	Index    uint64   `json:"from_index"`
	Blobs    int      `json:"blobs"`         // stored from the backup
	KeyRing  bool     `json:"key_ring"`      // taken up from the backup
	Missing  []string `json:"missing_blobs"` // named by the state and on no master
	NewIndex uint64   `json:"index"`         // where this cluster goes on
}
