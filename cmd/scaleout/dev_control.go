package main

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
	"sync"
	"time"

	"scaleout/store/file"
)

// control is the door through which other commands reach a running dev: a loopback port, since a path to a socket may
// be too long, and a secret in a file that only this account can read.
type control struct {
	file  string
	token string
	ln    net.Listener
	verbs map[string]devVerb

	calls  sync.WaitGroup
	life   context.Context
	cancel context.CancelFunc
}

// devVerb does something with the child of that name, or with all; its text is the answer.
type devVerb func(ctx context.Context, name string) (string, error)

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

func openControl(path string, verbs map[string]devVerb) (*control, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &control{file: path, token: rand.Text(), ln: ln, verbs: verbs}
	c.life, c.cancel = context.WithCancel(context.Background())
	raw, err := json.Marshal(controlFile{ln.Addr().String(), c.token})
	if err == nil {
		err = file.Write(path, 0o600, raw)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return c, nil
}

// serve answers until close.
func (c *control) serve() {
	for {
		conn, err := c.ln.Accept()
		if err != nil {
			break
		}
		c.calls.Go(func() { c.answer(conn) })
	}
	c.calls.Wait()
}

func (c *control) close() {
	os.Remove(c.file)
	c.cancel()
	c.ln.Close()
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
		text, err := c.verbs[in.Verb](c.life, in.Name)
		out.Text = text
		if err != nil {
			out.Error = err.Error()
		}
	}
	_ = json.NewEncoder(conn).Encode(out)
}

// askControl asks the dev process that wrote the file.
func askControl(ctx context.Context, file string, in controlRequest) (string, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no dev runs here: there is no %s; --data names the directory of a running 'scaleout dev'", file)
	}
	if err != nil {
		return "", err
	}
	var at controlFile
	if err := json.Unmarshal(raw, &at); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", at.Address)
	if err != nil {
		return "", fmt.Errorf("the dev that wrote %s does not run any more: %w", file, err)
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
