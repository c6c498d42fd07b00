package guard

import (
	"bufio"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// answerTimeout bounds the wait for every answer that the guard gives at once. Only tests change it.
var answerTimeout = 5 * time.Second

// request is one line of JSON over the socket, and answer is the line that answers it. Every request carries the
// folder's secret: the mode of the socket file protects it on most systems and not on all.
type request struct {
	Secret string `json:"secret"`
	Op     string `json:"op"` // status, extend, stop, kill, wait
	Lease  Lease  `json:"lease,omitzero"`
}

type answer struct {
	Error   string `json:"error,omitempty"`
	Running bool   `json:"running"`
	Left    int64  `json:"left_ns"` // of the lease
	Package int    `json:"package"`
	Exit    *Exit  `json:"exit,omitempty"`
}

const (
	maxSocketPath  = 90 // macOS allows 103 bytes, Linux 107; the rest is room for temporary names
	maxRequestSize = 4 << 10
)

func newSecret() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func sameSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// listen opens the guard's socket in the task folder. If that path is too long for a socket, it uses a directory of its
// own below the temporary folder. The returned function removes what listen made.
func listen(folder string) (net.Listener, string, func(), error) {
	path, remove := filepath.Join(folder, socketFile), func() {}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if len(path) > maxSocketPath {
		dir, err := shortDir()
		if err != nil {
			return nil, "", nil, err
		}
		path, remove = filepath.Join(dir, "s"), func() { os.RemoveAll(dir) }
	}
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err == nil {
		if err = os.Chmod(path, 0o600); err != nil {
			l.Close()
		}
	}
	if err != nil {
		remove()
		return nil, "", nil, fmt.Errorf("guard: socket: %w", err)
	}
	return l, path, func() { os.Remove(path); remove() }, nil
}

func shortDir() (string, error) {
	var errs []error
	for _, base := range []string{os.TempDir(), "/tmp"} {
		dir, err := os.MkdirTemp(base, "so-") // 0700
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(dir)+2 <= maxSocketPath {
			return dir, nil
		}
		os.Remove(dir)
		errs = append(errs, fmt.Errorf("%s is too long for a socket", dir))
	}
	return "", fmt.Errorf("guard: no short path for a socket: %w", errors.Join(errs...))
}

// dial sends one request and returns the connection for the answer.
func dial(st state, req request) (net.Conn, error) {
	conn, err := net.DialTimeout("unix", st.Socket, answerTimeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	req.Secret = st.Secret
	data, err := json.Marshal(req)
	if err == nil {
		conn.SetWriteDeadline(time.Now().Add(answerTimeout))
		_, err = conn.Write(append(data, '\n'))
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return conn, nil
}

func readAnswer(conn net.Conn) (answer, error) {
	var a answer
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("guard: refused: %s", a.Error)
	}
	return a, nil
}

// call sends a request that the guard answers at once.
func call(st state, req request) (answer, error) {
	conn, err := dial(st, req)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(answerTimeout))
	return readAnswer(conn)
}
