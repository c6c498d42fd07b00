package wire

// Problem is an error document of RFC 9457 with a stable Code for programs and a Detail for people.
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance,omitempty"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`

	// Message and Args are what Detail was made of, with a refusal of the catalog: the code of its sentence, of which Code
	// is the family, and the values in it. A door with words of its own makes its own sentence of them.
	Message string   `json:"message,omitempty"`
	Args    []string `json:"args,omitempty"`

	// Leader is the leader that the master believes in, with code "not_leader".
	Leader *Leader `json:"leader,omitempty"`
	// NextSeq is of the first item with a gap, Accepted of all items; both with code "gap".
	NextSeq  *int64     `json:"next_seq,omitempty"`
	Accepted []Accepted `json:"accepted,omitempty"`
	// Limit is the setting whose limit has been reached, with code "limit_reached".
	Limit string `json:"limit,omitempty"`
	// Index is the index of the node's state, with code "index_passed".
	Index uint64 `json:"index,omitempty"`
}

// The codes of problems that do not come from the catalog. The catalog's rejections have codes of their own.
const (
	CodeCertificateRequired = "certificate_required"
	CodeUnknownCluster      = "unknown_cluster"
	CodeForbidden           = "forbidden"
	CodeNotFound            = "not_found"
	CodeMethodNotAllowed    = "method_not_allowed"
	CodeInvalidJSON         = "invalid_json"
	CodeUnknownField        = "unknown_field"
	CodeTrailingData        = "trailing_data"
	CodeTooDeep             = "too_deep"
	CodeTooManyValues       = "too_many_values"
	CodeBodyTooLarge        = "body_too_large"
	CodeNotLeader           = "not_leader"
	CodeNoLeader            = "no_leader"
	CodeUnknownOutcome      = "unknown_outcome"
	CodeStopping            = "stopping"
	CodeTimeout             = "timeout"
	CodeCanceled            = "canceled"
	CodeBusy                = "busy"
	CodeIndexPassed         = "index_passed"
	CodeInternal            = "internal_error"
	CodeCertificateInvalid  = "certificate_invalid"
	CodeBadForward          = "bad_forward"
	CodeRequestTimeout      = "request_timeout"
	CodeCommandTooLarge     = "command_too_large"
	CodeFeatureLevel        = "feature_level"
	CodeMemberNotFound      = "member_not_found"
	CodeRefused             = "refused"
	CodeBackupDamaged       = "backup_damaged"
	CodeBackupKey           = "backup_key"
	CodeClusterNotEmpty     = "cluster_not_empty"
	CodeNoMajority          = "no_majority"
	CodeDigestMismatch      = "digest_mismatch"
	CodeNoSpace             = "no_space"
)

// The catalog's codes that clients act on.
const (
	CodeInvalidArgument     = "invalid_argument"
	CodeKeyReused           = "key_reused"
	CodeGap                 = "gap"
	CodeFenced              = "fenced"
	CodeLimitReached        = "limit_reached"
	CodeBlobNotFound        = "blob_not_found"
	CodeFolderExists        = "folder_exists"
	CodePermissionDenied    = "permission_denied"
	CodeLeaseTooShort       = "lease_too_short"
	CodeAgentIDTaken        = "agent_id_taken"
	CodeWorkerNotRegistered = "worker_not_registered"
	CodeInstanceReplaced    = "instance_replaced"
)
