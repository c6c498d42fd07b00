package gossip

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"scaleout/fsm/logkey"

	"github.com/hashicorp/memberlist"
)

// book remembers the newest announcement of every other node. memberlist calls it while holding its own lock, so book
// must not call memberlist.
type book struct {
	self    string
	log     *slog.Logger
	onEvent func(Event)

	mu      sync.Mutex
	members map[string]Member
	changed chan struct{}
}

func newBook(self string, log *slog.Logger, onEvent func(Event)) *book {
	return &book{self: self, log: log, onEvent: onEvent, members: make(map[string]Member), changed: make(chan struct{})}
}

func (b *book) NotifyJoin(n *memberlist.Node)   { b.note(Joined, n) }
func (b *book) NotifyUpdate(n *memberlist.Node) { b.note(Updated, n) }
func (b *book) NotifyLeave(n *memberlist.Node)  { b.note(Left, n) }

// NotifyAlive keeps out nodes whose announcement is not one of this program.
func (b *book) NotifyAlive(n *memberlist.Node) error {
	_, err := decode(n.Name, n.Meta)
	if err != nil {
		b.log.LogAttrs(context.Background(), slog.LevelWarn, "gossip: a node is ignored",
			slog.String(logkey.MasterID, n.Name), slog.String(logkey.Address, n.Address()), slog.Any(logkey.Err, err))
	}
	return err
}

func (b *book) NotifyConflict(existing, other *memberlist.Node) {
	b.log.LogAttrs(context.Background(), slog.LevelError,
		"gossip: two processes announce the same node id; was a data directory copied?",
		slog.String(logkey.MasterID, existing.Name), slog.String(logkey.Address, existing.Address()),
		slog.String(logkey.OtherAddress, other.Address()))
}

func (b *book) note(kind EventKind, n *memberlist.Node) {
	if n.Name == b.self {
		return
	}
	meta, err := decode(n.Name, n.Meta)
	b.mu.Lock()
	if err != nil {
		// A node may leave without sending its announcement again: then the last one stays valid.
		meta = b.members[n.Name].Meta
		meta.ID = n.Name
	}
	m := Member{Meta: meta, GossipAddress: n.Address(), Alive: kind != Left}
	b.members[n.Name] = m
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()

	level := slog.LevelInfo
	if kind == Updated {
		level = slog.LevelDebug
	}
	b.log.LogAttrs(context.Background(), level, "gossip: the members have changed",
		slog.String(logkey.Change, string(kind)), slog.String(logkey.Master, m.Name), slog.String(logkey.MasterID, m.ID),
		slog.String(logkey.Address, m.Address), slog.String(logkey.Version, m.Version))
	if b.onEvent != nil {
		b.onEvent(Event{Kind: kind, Member: m})
	}
}

func (b *book) living() []Member {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Member, 0, len(b.members))
	for _, m := range b.members {
		if m.Alive {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (b *book) member(id string) (Member, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.members[id]
	return m, ok
}

func (b *book) waiter() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}
