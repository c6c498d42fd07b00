package dev

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"scaleout/store/file"
)

// control is how other processes reach a running cluster: a loopback port, since a path to a socket may be too long,
// and a secret in a file that only this account can read.
type control struct {
	path     string
	token    string
	listener net.Listener
	verbs    map[string]verb

	serving sync.WaitGroup // the listening and each call
	ctx     context.Context
	cancel  context.CancelFunc
}

// verb does something with the child of that name, or with all; its text is the answer.
type verb func(ctx context.Context, name string) (string, error)

const (
	verbRestart = "restart"
	verbStatus  = "status"
)

type controlFile struct {
	Address string `json:"address"`
	Token   string `json:"token"`
}

type controlRequest struct {
	Token string `json:"token"`
	Verb  string `json:"verb"`
	Name  string `json:"name"`
}

type controlAnswer struct {
	Text  string `json:"text"`
	Error string `json:"error"`
}

// openControl answers until close. What it does for others ends with ctx.
func openControl(ctx context.Context, path string, verbs map[string]verb) (*control, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &control{path: path, token: rand.Text(), listener: listener, verbs: verbs}
	raw, err := json.Marshal(controlFile{listener.Addr().String(), c.token})
	if err == nil {
		err = file.Write(path, 0o600, raw)
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.serving.Go(c.serve)
	return c, nil
}

func (c *control) serve() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.serving.Go(func() { c.answer(conn) })
	}
}

// close breaks off what is being done, and returns when nothing is.
func (c *control) close() {
	os.Remove(c.path)
	c.cancel()
	c.listener.Close()
	c.serving.Wait()
}

func (c *control) answer(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var in controlRequest
	var out controlAnswer
	switch err := json.NewDecoder(conn).Decode(&in); {
	case err != nil:
		out.Error = "not understood: " + err.Error()
	case subtle.ConstantTimeCompare([]byte(in.Token), []byte(c.token)) != 1:
		out.Error = "wrong token"
	case c.verbs[in.Verb] == nil:
		out.Error = fmt.Sprintf("unknown verb %q", in.Verb)
	default:
		text, err := c.verbs[in.Verb](c.ctx, in.Name)
		out.Text = text
		if err != nil {
			out.Error = err.Error()
		}
	}
	_ = json.NewEncoder(conn).Encode(out)
}

// ask asks the process that wrote the control file.
func ask(ctx context.Context, path string, in controlRequest) (string, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no dev runs here: there is no %s; --data names the directory of a running 'scaleout dev'",
			path)
	}
	if err != nil {
		return "", err
	}
	var at controlFile
	if err := json.Unmarshal(raw, &at); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", at.Address)
	if err != nil {
		return "", fmt.Errorf("the dev that wrote %s does not run any more: %w", path, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in.Token = at.Token
	if err := json.NewEncoder(conn).Encode(in); err != nil {
		return "", err
	}
	var out controlAnswer
	if err := json.NewDecoder(conn).Decode(&out); err != nil {
		return "", fmt.Errorf("dev gave no answer: %w", err)
	}
	if out.Error != "" {
		return "", errors.New(out.Error)
	}
	return out.Text, nil
}

// Child is one process of a running cluster.
type Child struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	State   string `json:"state"`             // StateRunning or StateEnded
	Address string `json:"address,omitempty"` // of a master
	Log     string `json:"log"`
}

// Values of Child.State.
const (
	StateRunning = "running"
	StateEnded   = "ended"
)

// Status asks the process that runs a cluster on a data directory for its children.
func Status(ctx context.Context, dir string) ([]Child, error) {
	text, err := askAt(ctx, dir, controlRequest{Verb: verbStatus})
	if err != nil {
		return nil, err
	}
	var list []Child
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("dev's answer: %w", err)
	}
	return list, nil
}

// Restart asks the process that runs a cluster on a data directory to start a child anew, and returns what it says when
// the child is ready.
func Restart(ctx context.Context, dir, name string) (string, error) {
	return askAt(ctx, dir, controlRequest{Verb: verbRestart, Name: name})
}

func askAt(ctx context.Context, dir string, in controlRequest) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return ask(ctx, Layout{Dir: dir}.controlFile(), in)
}
