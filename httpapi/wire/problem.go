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
	CodeInvalidArgument     = "invalid_argument"
	CodeNotLeader           = "not_leader"
	CodeNoLeader            = "no_leader"
	CodeUnknownOutcome      = "unknown_outcome"
	CodeStopping            = "stopping"
	CodeTimeout             = "timeout"
	CodeCanceled            = "canceled"
	CodeBusy                = "busy"
	CodeKeyReused           = "key_reused"
	CodeIndexPassed         = "index_passed"
	CodeGap                 = "gap"
	CodeFenced              = "fenced"
	CodeLimitReached        = "limit_reached"
	CodeBlobNotFound        = "blob_not_found"
	CodeInternal            = "internal_error"
)
