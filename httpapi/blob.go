package httpapi

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"scaleout/httpapi/wire"
)

// digest returns the SHA-256 in the path. Only lower case is taken, so that a blob has one name.
func (r *request) digest() (string, error) {
	s, err := r.name("sha256")
	if err != nil {
		return "", err
	}
	ok := len(s) == 64
	for _, c := range []byte(s) {
		ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
	}
	if !ok {
		return "", invalid("%.80q is no SHA-256; 64 digits 0-9 and a-f were expected", s)
	}
	return s, nil
}

func (a *API) getBlob(w http.ResponseWriter, r *request) error {
	digest, err := r.digest()
	if err != nil {
		return err
	}
	blob, size, err := a.service.OpenBlob(r.Context(), digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", strconv.Quote(digest))
	h.Set("Cache-Control", "private, immutable, max-age=31536000")
	content := &served{ReaderAt: blob}
	http.ServeContent(w, r.Request, "", time.Time{}, io.NewSectionReader(content, 0, size))
	return content.err
}

// served remembers why a blob could not be read. http.ServeContent does not tell, and the answer must look broken.
type served struct {
	io.ReaderAt
	err error
}

func (s *served) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (a *API) putBlob(w http.ResponseWriter, r *request) error {
	digest, err := r.digest()
	if err != nil {
		return err
	}
	size, err := a.service.PutBlob(r.Context(), r.caller, digest, r.ContentLength, r.Body)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, wire.Blob{SHA256: digest, Size: size})
}
