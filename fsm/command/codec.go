package command

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// Limits of what goes into the log. Everything in Raft is counted in entries, so that a large entry holds up
// heartbeats and replication for as long as it takes to send.
const (
	SoftEntry    = 64 << 10  // bytes of commands at which a group commit closes
	HardCommand  = 256 << 10 // bytes of one command's body
	HardManifest = 1 << 20   // bytes of a packed manifest, which travels alone
	// MaxEntry bounds what Encode writes and Decode reads: a manifest with the rest of its command, and slack.
	MaxEntry = HardManifest + HardCommand + SoftEntry
)

// Errors of this package; callers compare with errors.Is.
var (
	// ErrUnknownKind: the entry was written by a newer version.
	ErrUnknownKind = errors.New("unknown kind of command")
	// ErrUndecodable: the bytes are no entry, command or manifest of this version.
	ErrUndecodable = errors.New("undecodable")
)

// encoding is deterministic (RFC 8949, core): equal values have equal bytes, which golden bytes and hashes rely on.
var encoding = mode(cbor.CoreDetEncOptions().EncMode())

// decoding refuses what this version would not have written itself. An unknown field stops the node: ignoring it would
// let this node's state silently differ from that of nodes that know the field. Text that is not UTF-8 is accepted: no
// proposer can then bring the cluster down with one badly encoded name.
var decoding = mode(cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	IndefLength:       cbor.IndefLengthForbidden,
	TagsMd:            cbor.TagsForbidden,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	UTF8:              cbor.UTF8DecodeInvalid,
	MaxNestedLevels:   16,
	MaxArrayElements:  MaxEntry, // an element has at least one byte
	MaxMapPairs:       1 << 16,
}.DecMode())

func mode[M any](m M, err error) M {
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}

// Encode writes an entry. It fails with ErrTooLarge for one that Decode would refuse.
func Encode(e Entry) ([]byte, error) {
	b, err := encoding.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("entry of %d commands: %d bytes exceed %d: %w", len(e.Commands), len(b), MaxEntry, ErrTooLarge)
	}
	return b, nil
}

// Decode reads an entry. Errors wrap ErrUndecodable. The bodies of its commands are decoded by Envelope.Command.
func Decode(b []byte) (Entry, error) {
	var e Entry
	if len(b) > MaxEntry {
		return Entry{}, fmt.Errorf("entry: %d bytes exceed %d: %w", len(b), MaxEntry, ErrUndecodable)
	}
	if err := decoding.Unmarshal(b, &e); err != nil {
		return Entry{}, fmt.Errorf("entry of %d bytes: %w: %w", len(b), ErrUndecodable, err)
	}
	return e, nil
}

// Wrap encodes a command; the leader stamps time, caller and key on the envelope. It fails with ErrTooLarge, naming
// both sizes, and with ErrUnknownKind for a value of a type that is not registered.
func Wrap(cmd Command) (Envelope, error) {
	kind := KindOf(cmd)
	spec := kind.spec()
	if spec == nil {
		return Envelope{}, fmt.Errorf("%T: %w", cmd, ErrUnknownKind)
	}
	body, err := encoding.Marshal(cmd)
	if err != nil {
		return Envelope{}, fmt.Errorf("encode %s: %w", kind, err)
	}
	if limit := spec.Size.Limit(); len(body) > limit {
		return Envelope{}, fmt.Errorf("%s: %d bytes exceed %d: %w", kind, len(body), limit, ErrTooLarge)
	}
	return Envelope{Kind: kind, Body: body}, nil
}

// Command decodes the envelope's command. Errors wrap ErrUnknownKind or ErrUndecodable.
func (e Envelope) Command() (Command, error) {
	spec := e.Kind.spec()
	if spec == nil {
		return nil, fmt.Errorf("kind %d: %w: it takes a newer version to apply it", e.Kind, ErrUnknownKind)
	}
	cmd := spec.New()
	if err := decoding.Unmarshal(e.Body, cmd); err != nil {
		return nil, fmt.Errorf("%s of %d bytes: %w: %w", e.Kind, len(e.Body), ErrUndecodable, err)
	}
	return cmd, nil
}

// Blob is the blob that the envelope's command is the first to name, "" if it names none. Errors are those of Command.
func (e Envelope) Blob() (string, error) {
	if spec := e.Kind.spec(); spec != nil && spec.Blob == nil {
		return "", nil
	}
	cmd, err := e.Command()
	if err != nil {
		return "", err
	}
	return e.Kind.spec().Blob(cmd), nil
}

// Limit is the most bytes that a command of this kind may have, and 0 for a kind that is not registered.
func (k Kind) Limit() int {
	if spec := k.spec(); spec != nil {
		return spec.Size.Limit()
	}
	return 0
}

var envelopeFields = FieldLevelsOf(reflect.TypeFor[Envelope]())

// CheckLevel returns why the envelope must not be proposed to a cluster of the given feature level: its kind, or a
// field that it uses, is newer. Errors wrap ErrLevel or those of Command.
func (e Envelope) CheckLevel(level int) error {
	spec := e.Kind.spec()
	switch {
	case spec == nil:
		return fmt.Errorf("%w: command kind %d is unknown to this program", ErrLevel, e.Kind)
	case spec.Level > level:
		return tooNew(spec.Name, spec.Level, level)
	}
	if err := envelopeFields.Check(e, level); err != nil {
		return err
	}
	if !spec.fields.Above(level) {
		return nil // the body need not be decoded
	}
	cmd, err := e.Command()
	if err != nil {
		return err
	}
	return spec.fields.Check(cmd, level)
}

// Marshal writes a value of the log's or the state's vocabulary deterministically.
func Marshal(v any) ([]byte, error) { return encoding.Marshal(v) }

// Unmarshal reads what Marshal wrote, as strictly as Decode. Errors wrap ErrUndecodable.
func Unmarshal(b []byte, v any) error {
	if err := decoding.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	return nil
}
