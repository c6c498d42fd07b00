package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime/pprof"
)

// debug answers what this master knows of itself, with where its goroutines are, by count.
func (a *API) debug(w http.ResponseWriter, r *request) error {
	if a.cfg.Debug == nil {
		return fmt.Errorf("%w: %s", errNotFound, r.URL.Path)
	}
	out := a.cfg.Debug()
	var buf bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&buf, 1); err != nil {
		return err
	}
	out.Goroutines, out.Log = buf.String(), filled(out.Log)
	return answer(w, http.StatusOK, out)
}
