package main

import (
	"cmp"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// fakeMaster answers views and procedures from functions.
type fakeMaster struct {
	timeout time.Duration // of its client; 0: as long as a busy machine needs
	mu      sync.Mutex
	views   map[string]func(r *http.Request) (rows []map[string]any, next string)
	calls   []fakeCall
	call    func(c fakeCall) (map[string]any, *wire.Problem)
	down    int                                                     // so many answers are no_leader
	pages   map[string]func(w http.ResponseWriter, r *http.Request) // other paths
	// messages is how complete operation_messages are; nil: the answer does not say.
	messages func() *wire.MessagesState
}

type fakeCall struct {
	procedure, key string
	args           map[string]any
}

func (f *fakeMaster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down > 0 {
		f.down--
		problem(w, wire.Problem{Status: 503, Code: wire.CodeNoLeader, Detail: "nobody leads"})
		return
	}
	if digest, ok := strings.CutPrefix(r.URL.Path, "/v1/blobs/"); ok && r.Method == http.MethodPut {
		n, _ := io.Copy(io.Discard, r.Body)
		_ = json.NewEncoder(w).Encode(wire.Blob{SHA256: digest, Size: n})
		return
	}
	if page := f.pages[r.URL.Path]; page != nil {
		page(w, r)
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/v1/catalog/views/"); ok && f.views[name] != nil {
		rows, next := f.views[name](r)
		raw := []json.RawMessage{}
		for _, row := range rows {
			b, _ := json.Marshal(row)
			raw = append(raw, b)
		}
		answer := wire.ViewAnswer{Columns: []wire.ResultColumn{}, Rows: raw, NextPageToken: next}
		for i := 0; i < len(rows) && i < 1; i++ {
			for _, column := range slices.Sorted(maps.Keys(rows[i])) {
				answer.Columns = append(answer.Columns, wire.ResultColumn{Name: column})
			}
		}
		if name == "operation_messages" && f.messages != nil {
			answer.Messages = f.messages()
		}
		_ = json.NewEncoder(w).Encode(answer)
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/v1/catalog/procedures/"); ok && f.call != nil {
		c := fakeCall{procedure: name, key: r.Header.Get(wire.HeaderKey)}
		dec := json.NewDecoder(r.Body)
		dec.UseNumber()
		_ = dec.Decode(&c.args)
		f.calls = append(f.calls, c)
		output, refused := f.call(c)
		if refused != nil {
			problem(w, *refused)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"return_value": 0, "output": output, "result_sets": []any{}})
		return
	}
	problem(w, wire.Problem{Status: 404, Code: wire.CodeNotFound, Detail: r.URL.Path})
}

func problem(w http.ResponseWriter, p wire.Problem) {
	w.Header().Set("Content-Type", wire.ContentProblem)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func (f *fakeMaster) client(t *testing.T) *client.Client {
	t.Helper()
	server := httptest.NewTLSServer(f)
	t.Cleanup(server.Close)
	c, err := client.New(client.Config{
		Masters: []string{server.URL}, HTTPClient: server.Client(), Logger: slog.New(slog.DiscardHandler),
		Backoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond, Timeout: cmp.Or(f.timeout, 5*time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
