package client

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// After a change no call goes over a connection of before, not even over one that was in use meanwhile, and the old
// connections are closed.
func TestRenewingLeavesOldConnections(t *testing.T) {
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			held <- struct{}{}
			<-hold
		}
		_, _ = w.Write([]byte(r.RemoteAddr))
	}))
	srv.Config.ConnState = func(c net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch s {
		case http.StateNew:
			open[c] = true
		case http.StateClosed:
			delete(open, c)
		}
	}
	srv.Start()
	defer srv.Close()
	sign := make(chan struct{})
	r := NewRenewing(
		func() <-chan struct{} { mu.Lock(); defer mu.Unlock(); return sign },
		func() *http.Transport { return &http.Transport{} },
	)
	defer r.CloseIdleConnections()
	get := func(path string) string {
		resp, err := (&http.Client{Transport: r}).Get(srv.URL + path)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer resp.Body.Close()
		buf := make([]byte, 64)
		n, _ := resp.Body.Read(buf)
		_, _ = resp.Body.Read(buf) // to its end, so that the connection can be used again
		return string(buf[:n])
	}
	first := get("/")
	if again := get("/"); again != first {
		t.Fatalf("a connection is not kept: %s, %s", first, again)
	}
	var group sync.WaitGroup
	group.Go(func() { get("/hold") })
	<-held
	mu.Lock()
	old := sign
	sign = make(chan struct{})
	mu.Unlock()
	close(old)
	second := get("/")
	if second == first {
		t.Error("an old connection is used after the change")
	}
	close(hold)
	group.Wait()
	for range 5 {
		if now := get("/"); now != second {
			t.Errorf("%s after %s", now, second)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		mu.Lock()
		n := len(open)
		mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open", n)
		}
		<-time.After(5 * time.Millisecond)
	}
}
