package wire

// Headers of answers and requests.
const (
	// HeaderIndex is the log index that an answer reflects: everything up to it is in the answer.
	HeaderIndex = "Scaleout-Index"
	// HeaderLeader is the name of the leader that the answering master believes in; absent when it knows none.
	HeaderLeader = "Scaleout-Leader"
	// HeaderForwardedBy is the name of the master that passed the call on to the leader.
	HeaderForwardedBy = "Scaleout-Forwarded-By"
	// HeaderStale says, on a view read under consistency=stale, how many milliseconds ago this master last heard from a
	// leader.
	HeaderStale = "Scaleout-Stale-Ms"
	// HeaderKey is the request key: the same key of the same caller gets the first answer again.
	HeaderKey = "Idempotency-Key"
	// HeaderKeyOrigin tells keys made by the client library or a forwarding master (KeyOriginLibrary: kept 3 min) from
	// keys that a caller chose (absent: kept 24 h).
	HeaderKeyOrigin = "Scaleout-Key-Origin"
	// HeaderLeaderWait is for how many milliseconds the caller wants the call to be held at most while nobody leads.
	HeaderLeaderWait = "Scaleout-Leader-Wait-Ms"
	// HeaderRequestID names one request in answers, problems and the logs of every master that it passed.
	HeaderRequestID = "Scaleout-Request-Id"
)

// KeyOriginLibrary is HeaderKeyOrigin's only value.
const KeyOriginLibrary = "library"

// Headers between masters. Whatever begins with InternalPrefix is removed from every request that does not come over a
// connection authenticated with a master's certificate.
const (
	InternalPrefix = "Scaleout-Internal-"
	// HeaderCaller is the verified identity of the original caller, see EncodeCaller.
	HeaderCaller = InternalPrefix + "Caller"
	// HeaderHop is the name of the master that forwards; a request that carries it is never forwarded again.
	HeaderHop = InternalPrefix + "Hop"
	// HeaderHopRequestID carries the request id across the hop.
	HeaderHopRequestID = InternalPrefix + "Request-Id"
	// HeaderElapsed is for how many milliseconds the forwarding master has had the call: a poll that is passed on a
	// second time is held for the rest of its time only.
	HeaderElapsed = InternalPrefix + "Elapsed-Ms"
)

// ContentProblem is the media type of an error.
const ContentProblem = "application/problem+json"
