package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := Init(filepath.Join(t.TempDir(), "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, req Request, now time.Time) *Issued {
	t.Helper()
	i, err := a.Issue(req, now)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func write(t *testing.T, i *Issued, dir string) Files {
	t.Helper()
	if err := i.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	return filesIn(dir)
}

func filesIn(dir string) Files {
	return Files{CA: filepath.Join(dir, FileCA), Cert: filepath.Join(dir, FileCert), Key: filepath.Join(dir, FileKey)}
}

func open(t *testing.T, f Files) *Credentials {
	t.Helper()
	c, err := OpenCredentials(CredentialsConfig{Files: f, Logger: slog.New(slog.DiscardHandler),
		Poll: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func chainOf(t *testing.T, i *Issued) []*x509.Certificate {
	t.Helper()
	certs, err := parseCertificates(i.certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

func TestIssueAndReadBack(t *testing.T) {
	a := newAuthority(t)
	now := time.Now()
	for _, req := range []Request{
		{Role: RoleMaster, Name: "master-1", Hosts: []string{"127.0.0.1", "::1", "m1.example", "m1.example"}},
		{Role: RoleWorker, Name: "HOST 7/ä"},
		{Role: RoleUser, Name: `DOMAIN\jane`, Roles: []string{UserMonitor, UserAdmin, UserAdmin}},
	} {
		i := issue(t, a, req, now)
		leaf := chainOf(t, i)[0]
		id, err := IdentityOf(leaf)
		if err != nil {
			t.Fatalf("%s: %v", req.Name, err)
		}
		if id.Cluster != a.ClusterID() || id.Role != req.Role || id.Name != req.Name {
			t.Errorf("identity %+v of %+v", id, req)
		}
		if req.Role == RoleUser && !slices.Equal(id.Roles, []string{UserAdmin, UserMonitor}) {
			t.Errorf("roles %v", id.Roles)
		}
		server := slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		if server != (req.Role == RoleMaster) {
			t.Errorf("%s: server usage %v", req.Role, server)
		}
		if leaf.IsCA || leaf.SignatureAlgorithm != x509.ECDSAWithSHA256 {
			t.Errorf("%s: CA %v, signature %v", req.Role, leaf.IsCA, leaf.SignatureAlgorithm)
		}
		dir := filepath.Join(t.TempDir(), "out")
		write(t, i, dir)
		for _, name := range []string{FileGossipKey, FileKeyRing} {
			_, err := os.Stat(filepath.Join(dir, name))
			if (err == nil) != (req.Role == RoleMaster) {
				t.Errorf("%s: %s: %v", req.Role, name, err)
			}
		}
	}
	m := issue(t, a, Request{Role: RoleMaster, Name: "master-1", Hosts: []string{"127.0.0.1"}}, now)
	for _, host := range []string{"127.0.0.1", "master-1"} {
		if err := m.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if err := m.Leaf.VerifyHostname("other"); err == nil {
		t.Error("a host that was not asked for is named")
	}
}

func TestRequire(t *testing.T) {
	id := Identity{Role: RoleUser, Name: "anna"}
	if err := id.Require(RoleUser); err != nil {
		t.Error(err)
	}
	const want = "the certificate is user/anna; a worker needs one of role worker ('scaleout ca issue worker NAME')"
	if err := id.Require(RoleWorker); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestIssueRefuses(t *testing.T) {
	a := newAuthority(t)
	for name, tc := range map[string]struct {
		req  Request
		want string
	}{
		"role":         {Request{Role: "king", Name: "x"}, `"king"`},
		"no name":      {Request{Role: RoleWorker}, "empty"},
		"control":      {Request{Role: RoleWorker, Name: "a\nb"}, "control"},
		"long":         {Request{Role: RoleWorker, Name: strings.Repeat("x", 129)}, "129"},
		"worker roles": {Request{Role: RoleWorker, Name: "w", Roles: []string{UserAdmin}}, "only a user"},
		"bad db role":  {Request{Role: RoleUser, Name: "u", Roles: []string{"db_owner"}}, `"db_owner"`},
		"url as host":  {Request{Role: RoleMaster, Name: "m", Hosts: []string{"https://m1:8391"}}, "no port"},
		"master host":  {Request{Role: RoleMaster, Name: "not a host"}, "needs a host"},
		"lifetime":     {Request{Role: RoleWorker, Name: "w", Lifetime: -time.Hour}, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := a.Issue(tc.req, time.Now()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want something with %q", err, tc.want)
			}
		})
	}
	if _, err := a.Issue(Request{Role: RoleWorker, Name: "w"}, time.Now().Add(11*365*24*time.Hour)); !errors.Is(err,
		ErrCAExpired) {
		t.Errorf("issuing after the CA's end: %v", err)
	}
	late := issue(t, a, Request{Role: RoleWorker, Name: "w"}, a.signer.NotAfter.Add(-time.Hour))
	if late.Leaf.NotAfter.After(a.signer.NotAfter) {
		t.Error("a leaf outlives its CA")
	}
}

func TestAuthorityDirectory(t *testing.T) {
	a := newAuthority(t)
	if _, err := Init(a.dir, time.Now()); !errors.Is(err, ErrAuthorityExists) {
		t.Errorf("second Init: %v", err)
	}
	if _, err := OpenAuthority(t.TempDir()); !errors.Is(err, ErrNoAuthority) {
		t.Errorf("open of an empty directory: %v", err)
	}
	if runtime.GOOS != "windows" {
		for _, name := range []string{FileCAKey, FileGossipKey, FileKeyRing} {
			info, err := os.Stat(filepath.Join(a.dir, name))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", name, info.Mode(), err)
			}
		}
	}
	b, err := OpenAuthority(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	if b.ClusterID() != a.ClusterID() || !slices.Equal(keyIDs(b.KeyRing()), keyIDs(a.KeyRing())) {
		t.Error("reopened authority differs")
	}
	// Ended between the two writes of a rotation: the new CA is in the bundle, the key is old.
	key, err := os.ReadFile(filepath.Join(a.dir, FileCAKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.dir, FileCAKey), key, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := OpenAuthority(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	i := issue(t, c, Request{Role: RoleWorker, Name: "w"}, time.Now())
	open(t, write(t, i, t.TempDir()))
	if err := os.WriteFile(filepath.Join(a.dir, FileCAKey), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(a.dir); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a broken key file: %v", err)
	}
}

func TestOverlappingAuthorities(t *testing.T) {
	a := newAuthority(t)
	now := time.Now()
	request := Request{Role: RoleMaster, Name: "m", Hosts: []string{"localhost"}}
	old := issue(t, a, request, now)
	oldNode := open(t, write(t, old, t.TempDir()))

	if err := a.Rotate(now); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAuthority(a.dir) // as the next command would
	if err != nil {
		t.Fatal(err)
	}
	renewed := issue(t, a, request, now)
	newNode := open(t, write(t, renewed, t.TempDir()))
	both := func(when string, x, y *Credentials, cx, cy *Issued, xy, yx bool) {
		t.Helper()
		if _, err := x.Verify(chainOf(t, cy), x509.ExtKeyUsageClientAuth); (err == nil) != xy {
			t.Errorf("%s: first about second: %v", when, err)
		}
		if _, err := y.Verify(chainOf(t, cx), x509.ExtKeyUsageClientAuth); (err == nil) != yx {
			t.Errorf("%s: second about first: %v", when, err)
		}
	}
	both("overlap", oldNode, newNode, old, renewed, true, true)

	if err := a.Rotate(now); err != nil {
		t.Fatal(err)
	}
	twice := issue(t, a, request, now)
	both("two rotations", oldNode, open(t, write(t, twice, t.TempDir())), old, twice, true, true)

	for range 2 {
		if _, err := a.Retire(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Retire(); !errors.Is(err, ErrLastCA) {
		t.Errorf("retiring the last CA: %v", err)
	}
	a, err = OpenAuthority(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	final := issue(t, a, request, now)
	if n := len(chainOf(t, final)); n != 1 {
		t.Errorf("after retirement cert.pem still holds %d certificates", n)
	}
	both("retired", open(t, write(t, final, t.TempDir())), oldNode, final, old, false, false)
}

func TestIdentityOfMalformed(t *testing.T) {
	if _, err := IdentityOf(nil); !errors.Is(err, ErrNoIdentity) {
		t.Error(err)
	}
	a := newAuthority(t)
	if _, err := IdentityOf(a.signer); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("a CA has an identity: %v", err)
	}
	leaf := *issue(t, a, Request{Role: RoleWorker, Name: "w"}, time.Now()).Leaf
	leaf.URIs = append(leaf.URIs, leaf.URIs[0])
	if _, err := IdentityOf(&leaf); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("two identities: %v", err)
	}
}

func TestThumbprints(t *testing.T) {
	a := newAuthority(t)
	leaf := issue(t, a, Request{Role: RoleWorker, Name: "w"}, time.Now()).Leaf
	s1, s256 := Thumbprints(leaf)
	if len(s1) != 40 || len(s256) != 64 || s1 != strings.ToUpper(s1) {
		t.Fatal(s1, s256)
	}
	colons := ""
	for i := 0; i < len(s1); i += 2 {
		colons += strings.ToLower(s1[i:i+2]) + ":"
	}
	for _, want := range []string{s1, s256, strings.ToLower(s256), colons, "\u200e" + s1[:20] + " " + s1[20:]} {
		if !MatchThumbprint(want, leaf) {
			t.Errorf("%q does not match", want)
		}
	}
	for _, want := range []string{"", " ", s1[:39], s256[1:], "zz"} {
		if MatchThumbprint(want, leaf) {
			t.Errorf("%q matches", want)
		}
	}
	pins, err := ParsePins(" " + colons + ", " + s256 + ",")
	if err != nil || len(pins) != 2 {
		t.Fatal(pins, err)
	}
	if _, err := ParsePins("abc"); err == nil || !strings.Contains(err.Error(), `"abc"`) {
		t.Error(err)
	}
	if pins, err := ParsePins(""); err != nil || !pins.Match(nil) {
		t.Error(pins, err)
	}
}

// What writers of the ring that were killed left goes with a later Save, unless it may still be written by another
// process; the files of others stay.
func TestLeftoversOfKilledWritersGo(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{
		"keyring.json.tmp-1": 2 * idleLeftover, "keyring.json.tmp-2": 0, "key.pem.tmp-3": 2 * idleLeftover,
	} {
		path := filepath.Join(dir, name)
		at := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := NewKeyRing().Save(filepath.Join(dir, "keyring.json")); err != nil {
		t.Fatal(err)
	}
	got, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range got {
		got[i] = filepath.Base(path)
	}
	if want := []string{"key.pem.tmp-3", "keyring.json", "keyring.json.tmp-2"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add("w", "", uint8(1))
	f.Add(`D\x/..%2f`, "ssis_admin", uint8(2))
	f.Fuzz(func(t *testing.T, name, role string, kind uint8) {
		id := Identity{Cluster: "0b1c2d3e-0000-4000-8000-000000000001",
			Role: []Role{RoleMaster, RoleWorker, RoleUser}[kind%3], Name: name}
		if role != "" {
			id.Roles = []string{role}
		}
		if id.check() != nil {
			return
		}
		u := id.uri()
		back, err := parseIdentity(mustParse(t, u.String()))
		if err != nil || back.Name != id.Name || back.Role != id.Role || back.Cluster != id.Cluster ||
			!slices.Equal(back.Roles, id.Roles) {
			t.Fatalf("%+v → %s → %+v, %v", id, u, back, err)
		}
	})
}

func TestFilesOfSomebodyElseStay(t *testing.T) {
	now := time.Now()
	ours, err := Init(filepath.Join(t.TempDir(), "ca"), now)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := Init(filepath.Join(t.TempDir(), "ca"), now)
	if err != nil {
		t.Fatal(err)
	}
	worker := func(name string) Request { return Request{Role: RoleWorker, Name: name} }
	for _, test := range []struct {
		name    string
		prepare func(folder string) error
		refused bool
	}{
		{"empty", func(string) error { return nil }, false},
		{"the same identity", func(f string) error { return issue(t, ours, worker("w"), now).WriteFiles(f) }, false},
		{"a key alone", func(f string) error { return os.WriteFile(filepath.Join(f, FileKey), []byte("x"), 0o600) }, false},
		{"another name", func(f string) error { return issue(t, ours, worker("v"), now).WriteFiles(f) }, true},
		{"another role", func(f string) error {
			return issue(t, ours, Request{Role: RoleUser, Name: "w"},
				now).WriteFiles(f)
		}, true},
		{"another cluster", func(f string) error { return issue(t, theirs, worker("w"), now).WriteFiles(f) }, true},
		{"no certificate", func(f string) error { return os.WriteFile(filepath.Join(f, FileCert), []byte("x"), 0o600) },
			true},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := test.prepare(folder); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(filepath.Join(folder, FileKey))
			err := issue(t, ours, worker("w"), now).WriteFiles(folder)
			if errors.Is(err, ErrOtherIdentity) != test.refused || (err != nil) != test.refused {
				t.Errorf("%v", err)
			}
			after, _ := os.ReadFile(filepath.Join(folder, FileKey))
			if test.refused && !bytes.Equal(before, after) {
				t.Error("the key was replaced all the same")
			}
		})
	}
}
