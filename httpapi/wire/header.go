package wire

// The headers of answers and requests.
const (
	// HeaderIndex is the log index that an answer reflects: the answer contains the effects of all entries up to it.
	HeaderIndex = "Scaleout-Index"
	// HeaderLeader is the name of the leader that the answering master believes in. It is absent if the master knows none.
	HeaderLeader = "Scaleout-Leader"
	// HeaderForwardedBy is the name of the master that forwarded the call to the leader.
	HeaderForwardedBy = "Scaleout-Forwarded-By"
	// HeaderStale is on the answer to a stale view read. It says how many milliseconds ago this master last heard from a
	// leader.
	HeaderStale = "Scaleout-Stale-Ms"
	// HeaderKey is the request key: a repeated call with the same key by the same caller gets the first answer again.
	HeaderKey = "Idempotency-Key"
	// HeaderKeyOrigin is KeyOriginLibrary for a key that the client library or a forwarding master made, which is kept for
	// 3 min. It is absent for a key that the caller chose, which is kept for 24 h.
	HeaderKeyOrigin = "Scaleout-Key-Origin"
	// HeaderLeaderWait is the longest time in milliseconds for which a master may hold the call while there is no leader.
	HeaderLeaderWait = "Scaleout-Leader-Wait-Ms"
	// HeaderRequestID identifies a request in its answer, in problems, and in the logs of every master that handled it.
	HeaderRequestID = "Scaleout-Request-Id"
)

// KeyOriginLibrary is the only value of HeaderKeyOrigin.
const KeyOriginLibrary = "library"

// The headers between masters. Headers that begin with InternalPrefix are removed from every request that does not come
// over a connection authenticated with a master's certificate.
const (
	InternalPrefix = "Scaleout-Internal-"
	// HeaderCaller is the verified identity of the original caller; see EncodeCaller.
	HeaderCaller = InternalPrefix + "Caller"
	// HeaderHop is the name of the forwarding master. A request with this header is never forwarded again.
	HeaderHop = InternalPrefix + "Hop"
	// HeaderHopRequestID is the request id that the forwarding master gave the call.
	HeaderHopRequestID = InternalPrefix + "Request-Id"
	// HeaderElapsed is how many milliseconds the forwarding master has had the call. A poll that is forwarded a second
	// time is held only for the rest of its time.
	HeaderElapsed = InternalPrefix + "Elapsed-Ms"
)

// ContentProblem is the media type of an error.
const ContentProblem = "application/problem+json"
