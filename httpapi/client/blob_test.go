package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/httpapi/wire"
)

func TestGetBlobGoesOnAtAnotherMaster(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	half := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:len(content)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	full := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(content) })
	wrong := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(content[1:]) })
	poor := serve(t, func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, wire.Problem{Code: wire.CodeBlobNotFound})
	})
	bent := slices.Clone(content)
	bent[7] ^= 1
	halfBent := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(bent[:len(content)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, x := range []struct {
		name    string
		masters []*fakeMaster
		err     error
		code    string
	}{
		{"broken off", []*fakeMaster{half, full}, nil, ""},
		{"wrong content", []*fakeMaster{wrong, full}, nil, ""},
		{"wrong and broken off", []*fakeMaster{halfBent, full}, nil, ""},
		{"wrong beginning, right end", []*fakeMaster{halfBent, half, full}, nil, ""},
		{"not there", []*fakeMaster{poor, full}, nil, ""},
		{"wrong everywhere", []*fakeMaster{wrong, wrong}, ErrCorrupt, ""},
		{"nowhere", []*fakeMaster{poor, poor}, nil, wire.CodeBlobNotFound},
		{"wrong or nowhere", []*fakeMaster{poor, wrong}, ErrCorrupt, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			var urls []string
			for _, m := range x.masters {
				urls = append(urls, m.URL)
			}
			var got *bytes.Buffer
			c := newClient(t, urls...)
			if x.err != nil {
				c.cfg.Timeout = 300 * time.Millisecond // with which it ends
			}
			n, err := c.GetBlob(t.Context(), digest, func() (io.Writer, error) { got = new(bytes.Buffer); return got, nil })
			switch {
			case x.err != nil || x.code != "":
				if x.err != nil && !errors.Is(err, x.err) || x.code != "" && Code(err) != x.code {
					t.Errorf("error %v", err)
				}
			case err != nil || n != int64(len(content)) || !bytes.Equal(got.Bytes(), content):
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	full.calls.Store(0)
	if _, err := newClient(t, full.URL).GetBlob(t.Context(), digest,
		func() (io.Writer, error) { return failing{}, nil }); err == nil ||
		err.Error() != "disk full" ||
		full.calls.Load() != 1 {
		t.Fatal(err, full.calls.Load())
	}
}

// failing is a file on a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestPutBlobSendsFromTheBeginningAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.ispac")
	content := bytes.Repeat([]byte("x"), 300_000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 1000)
		panic(http.ErrAbortHandler)
	})
	good := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		sum := sha256.Sum256(b)
		if !strings.HasSuffix(r.URL.Path, hex.EncodeToString(sum[:])) {
			problem(w, 422, wire.Problem{Code: "digest_mismatch"})
			return
		}
		reply(w, wire.Blob{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(b))})
	})
	b, err := newClient(t, broken.URL, good.URL).PutBlobFile(t.Context(), path)
	if err != nil || b.Size != int64(len(content)) {
		t.Fatal(b, err)
	}
}
