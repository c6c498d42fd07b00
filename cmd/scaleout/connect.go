package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"scaleout/cluster/pki"
	"scaleout/fsm/registry"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

const (
	defaultConnectTimeout = 10 * time.Second
	leastConnectTimeout   = 100 * time.Millisecond
	// leaderWait is how long a master may hold a call while no master leads. It is short so that a person at a terminal
	// sees the reason soon; the client goes on trying.
	leaderWait = time.Second
	// devConnectTimeout is for the clusters of dev and demo, whose leaders are killed on purpose on machines that are
	// busy.
	devConnectTimeout = 30 * time.Second
)

// connectTimeout reads SCALEOUT_CONNECT_TIMEOUT.
func connectTimeout(text string) (time.Duration, error) {
	if text == "" {
		return defaultConnectTimeout, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return defaultConnectTimeout, usagef("SCALEOUT_CONNECT_TIMEOUT %q: want a duration such as 10s", text)
	}
	return d, nil
}

// client connects as the caller's certificate.
func (a *app) client() (*client.Client, error) {
	if a.dial != nil {
		return a.dial()
	}
	if a.cacert == "" || a.cert == "" || a.key == "" {
		return nil, usagef("the cluster asks for a certificate: set --cacert, --cert and --key, or SCALEOUT_CACERT, " +
			"SCALEOUT_CERT and SCALEOUT_KEY ('scaleout dev' writes a file 'env' that does)")
	}
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{
		Files: pki.Files{CA: a.cacert, Cert: a.cert, Key: a.key}, Logger: a.logger(),
	})
	if err != nil {
		return nil, &fileFlagError{err}
	}
	return a.clientWith(creds, splitList(a.addr))
}

// fileFlagError says of certificate files what is wrong with them, by the flags that named them in place of the
// settings of masters and workers.
type fileFlagError struct{ err error }

var fileFlags = strings.NewReplacer("CACertFile ", "--cacert ", "CertFile ", "--cert ", "KeyFile ", "--key ")

func (e *fileFlagError) Error() string { return fileFlags.Replace(e.err.Error()) }
func (e *fileFlagError) Unwrap() error { return e.err }

// clientWith connects to masters with given credentials.
func (a *app) clientWith(creds *pki.Credentials, masters []string) (*client.Client, error) {
	for _, m := range masters {
		if !strings.HasPrefix(m, "https://") {
			return nil, usagef("--addr %q: want https://host:port", m)
		}
	}
	return client.New(client.Config{
		Masters: masters, HTTPClient: httpClient(newReloading(creds)), UserAgent: "scaleout/" + version, Logger: a.logger(),
		Timeout: a.connectTimeout, LeaderWait: leaderWait, Waiting: a.sayWaiting,
	})
}

// sayWaiting says that no master answers, who was tried and for how long that goes on. Within the last second it says
// nothing, since the error that follows has the same words.
func (a *app) sayWaiting(err error, left time.Duration) {
	if left >= time.Second {
		a.notices.say(fmt.Sprintf("%s; trying for %v more (--connect-timeout)", unprefixed(err), left.Round(time.Second)))
	}
}

// notices shows lines about calls that have no answer yet, from any goroutine. A nil *notices shows nothing.
type notices struct {
	mu   sync.Mutex
	show func(text string)
}

// to sets the function that gets the lines, nil for none, and returns the one before.
func (n *notices) to(show func(text string)) (before func(text string)) {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	before, n.show = n.show, show
	return before
}

func (n *notices) say(text string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.show != nil {
		n.show(text)
	}
}

// friendly returns a master's refusal as its sentence with its code behind; other errors stay.
func friendly(err error) error {
	var e *client.Error
	if errors.As(err, &e) && e.Detail != "" && !errors.Is(err, client.ErrNoLeader) {
		return fmt.Errorf("%s (%s)", said(e), e.Code)
	}
	return err
}

// said is what a master's refusal says, in the words of the command line where it has some.
func said(e *client.Error) string {
	if e.Problem.Message == "" {
		return e.Detail
	}
	return registry.Text(registry.CLI, e.Problem.Message, e.Problem.Args)
}

// unprefixed returns an error's text without the name of its package and without the code no_leader, which repeats the
// sentence.
func unprefixed(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "client: "), wire.CodeNoLeader+": ")
}
