package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/gossip"
)

func TestPlace(t *testing.T) {
	now := time.Unix(1, 0)
	other, self := Leader{ID: "b", Term: 4}, Leader{ID: "a", Term: 4}
	for _, c := range []struct {
		name  string
		l     Leader
		known bool
		term  uint64 // of this node's own leadership
		ready bool
		want  Place
	}{
		{"nobody leads", Leader{}, false, 0, false, Place{Contact: now}},
		{"another leads", other, true, 0, false, Place{Leader: other, Known: true, Contact: now}},
		{"this node leads", self, true, 4, true, Place{Leader: self, Known: true, Here: true, Contact: now}},
		{"it leads and is not ready", self, true, 4, false, Place{Leader: self, Known: true, Contact: now}},
		{"ready, and another leads meanwhile", other, true, 3, true, Place{Leader: other, Known: true, Contact: now}},
		{"ready, and nobody is known to lead", Leader{}, false, 4, true, Place{Contact: now}},
		{"its own leadership is newer than what it has heard", self, true, 5, true,
			Place{Leader: Leader{ID: "a", Term: 5}, Known: true, Here: true, Contact: now}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := placeOf("a", c.l, c.known, c.term, c.ready, now); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestMemberID(t *testing.T) {
	members := []Member{{ID: "1", Name: "alpha"}, {ID: "2", Name: "Beta"}, {ID: "3"}, {ID: "4", Name: "5"}, {ID: "5"}}
	for member, want := range map[string]string{
		"1": "1", "alpha": "1", "ALPHA": "1", "beta": "2", "3": "3", "gamma": "gamma",
		"alpha  ": "1", "5": "5", "Bet\u00e1": "Bet\u00e1",
	} {
		t.Run(member, func(t *testing.T) {
			if got := memberID(members, member); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestNameTaken(t *testing.T) {
	members := []gossip.Member{{Meta: gossip.Meta{ID: "1", Name: "alpha"}}, {Meta: gossip.Meta{ID: "2", Name: "Beta"}}}
	for _, c := range []struct {
		name, id, joins string
		taken           bool
	}{
		{"a new name", "3", "gamma", false},
		{"another master's", "3", "alpha", true},
		{"another master's in another case", "3", "BETA", true},
		{"its own", "2", "Beta", false},
		{"its own in another case", "2", "beta", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m, taken := nameTaken(members, joinRequest{ID: c.id, Name: c.joins}); taken != c.taken {
				t.Errorf("taken by %q: %t", m.Name, taken)
			}
		})
	}
}

func TestConfigurationIsVotersAndOthers(t *testing.T) {
	voters, others := split([]raft.Server{
		{ID: "a"}, {ID: "b", Suffrage: raft.Nonvoter}, {ID: "c"}, {ID: "d", Suffrage: raft.Staging},
	})
	if !slices.Equal(voters, []string{"a", "c"}) || !slices.Equal(others, []string{"b", "d"}) {
		t.Errorf("voters %q, others %q", voters, others)
	}
}
