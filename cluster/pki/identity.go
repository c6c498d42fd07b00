package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"scaleout/fsm/sqltype"
)

// Role is what the holder of a certificate is in the cluster.
type Role string

// The roles that a certificate can have.
const (
	RoleMaster Role = "master"
	RoleWorker Role = "worker"
	RoleUser   Role = "user"
)

// The database roles of the catalog that a user's certificate can carry.
const (
	UserAdmin           = "ssis_admin"
	UserClusterExecutor = "ssis_cluster_executor"
	UserClusterWorker   = "ssis_cluster_worker"
	UserLogReader       = "ssis_logreader"
	UserMonitor         = "ssis_monitor"
)

// UserRoles lists every value that Identity.Roles may hold.
func UserRoles() []string {
	return []string{UserAdmin, UserClusterExecutor, UserClusterWorker, UserLogReader, UserMonitor}
}

const (
	identityScheme = "scaleout"
	maxNameLength  = 128
)

// ErrNoIdentity means that a certificate does not say which cluster, role and
// name its holder has.
var ErrNoIdentity = errors.New("certificate carries no scale-out identity")

// Identity is who a certificate's holder is. It says nothing about whether the
// certificate is to be trusted; Credentials.Verify does.
type Identity struct {
	Cluster string
	Role    Role
	Name    string
	Roles   []string // database roles, sorted; users only
}

// Require returns an error unless the holder has a role.
func (id Identity) Require(role Role) error {
	if id.Role == role {
		return nil
	}
	return fmt.Errorf("the certificate is %s; a %s needs one of role %s ('scaleout ca issue %s NAME')", id, role, role,
		role)
}

// String is the form for log lines: role/name.
func (id Identity) String() string { return string(id.Role) + "/" + id.Name }

func (id Identity) uri() *url.URL {
	u := &url.URL{
		Scheme:  identityScheme,
		Host:    id.Cluster,
		Path:    "/" + string(id.Role) + "/" + id.Name,
		RawPath: "/" + string(id.Role) + "/" + url.PathEscape(id.Name),
	}
	if len(id.Roles) > 0 {
		u.RawQuery = "roles=" + strings.Join(id.Roles, ",")
	}
	return u
}

func (id Identity) check() error {
	switch id.Role {
	case RoleMaster, RoleWorker, RoleUser:
	default:
		return fmt.Errorf("role %q is unknown; use master, worker or user", string(id.Role))
	}
	if err := checkName(id.Name); err != nil {
		return err
	}
	if len(id.Roles) > 0 && id.Role != RoleUser {
		return fmt.Errorf("a %s certificate cannot carry database roles (%s); only a user's can", id.Role,
			strings.Join(id.Roles, ", "))
	}
	for _, r := range id.Roles {
		if !slices.Contains(UserRoles(), r) {
			return fmt.Errorf("database role %q is unknown; use one of %s", r, strings.Join(UserRoles(), ", "))
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxNameLength:
		return fmt.Errorf("the name has %d bytes; at most %d are allowed", len(name), maxNameLength)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not valid UTF-8", name)
	case name == "." || name == "..":
		return fmt.Errorf("the name %q is not allowed", name)
	case strings.ContainsFunc(name, sqltype.Hidden):
		return fmt.Errorf("the name %q contains a control or format character", name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("the name %q begins or ends with a space", name)
	}
	return nil
}

// IdentityOf reads who cert names. The error wraps ErrNoIdentity and tells what
// is missing or malformed.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	if cert == nil {
		return Identity{}, fmt.Errorf("%w: there is no certificate", ErrNoIdentity)
	}
	var found *url.URL
	for _, u := range cert.URIs {
		if u.Scheme != identityScheme {
			continue
		}
		if found != nil {
			return Identity{}, fmt.Errorf("%w: it names two (%s and %s)", ErrNoIdentity, found, u)
		}
		found = u
	}
	if found == nil {
		return Identity{}, fmt.Errorf("%w: no %s:// name in certificate %s", ErrNoIdentity, identityScheme, fingerprint(cert))
	}
	id, err := parseIdentity(found)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %q: %w", ErrNoIdentity, found.String(), err)
	}
	return id, nil
}

func parseIdentity(u *url.URL) (Identity, error) {
	parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	if len(parts) != 2 || u.Host == "" || u.User != nil || u.Fragment != "" {
		return Identity{}, errors.New("want scaleout://<cluster>/<role>/<name>")
	}
	name, err := url.PathUnescape(parts[1])
	if err != nil {
		return Identity{}, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Cluster: u.Host, Role: Role(parts[0]), Name: name}
	if list := query.Get("roles"); list != "" {
		id.Roles = normalizeRoles(strings.Split(list, ","))
	}
	if err := id.check(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

func normalizeRoles(roles []string) []string {
	if len(roles) == 0 {
		return nil
	}
	sorted := slices.Clone(roles)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
