package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A process that is killed in the middle of its writes has lost nothing whose write it had seen succeed.
func TestKilledInTheMiddleOfWrites(t *testing.T) {
	path := t.TempDir()
	var acked struct{ log, doc, blob, deleted uint64 }
	for round := range 4 {
		cmd := exec.Command(os.Args[0], path)
		cmd.Env = append(os.Environ(), childEnv+"=write")
		out, err := cmd.StdoutPipe()
		must(t, err)
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var what string
			var i uint64
			if _, err := fmt.Sscan(lines.Text(), &what, &i); err != nil {
				t.Fatalf("child said %q", lines.Text())
			}
			switch what {
			case "log":
				acked.log = i
			case "deleted":
				acked.deleted = i
			case "doc":
				acked.doc = i
			case "blob":
				acked.blob = i
			}
			if n == 60+17*round {
				must(t, cmd.Process.Kill()) // what it still said is read too
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("child ended by itself")
		}
		if acked.log == 0 || acked.doc == 0 || acked.blob == 0 {
			t.Fatalf("child did too little: %+v", acked)
		}

		d := open(t, path)
		last, err := d.Log().LastIndex()
		must(t, err)
		first, err := d.Log().FirstIndex()
		must(t, err)
		if last < acked.log || first < acked.deleted+1 {
			t.Fatalf("log is %d to %d, told %+v", first, last, acked)
		}
		for i := first; i <= last; i++ {
			wantEntry(t, d.Log(), entry(i, 500))
		}
		var doc uint64
		if found, err := d.Load("counter", &doc); err != nil || !found || doc < acked.doc {
			t.Fatalf("document: %d, told %d, %v", doc, acked.doc, err)
		}
		for i := uint64(1); i <= acked.blob; i++ {
			must(t, d.Blobs().Verify(context.Background(), digestOf(blobText(i))))
		}
		must(t, d.Blobs().Walk(func(digest string, _ int64, _ time.Time) error {
			return d.Blobs().Verify(context.Background(), digest)
		}))
		for name := range files(t, path) {
			if strings.Contains(name, ".tmp") || strings.Contains(name, incomingName) {
				t.Errorf("left over: %s", name)
			}
		}
		list, err := d.Snapshots().List()
		must(t, err)
		if acked.deleted > 0 {
			_, content, err := d.Snapshots().Open(list[0].ID)
			must(t, err)
			content.Close()
		}
		closeDir(t, d)
	}
}

func writeUntilKilled(path string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	d, err := Open(path, Options{Logger: quiet()})
	fail(err)
	next, err := d.Log().LastIndex()
	fail(err)
	for n := next; ; n++ {
		from := next + 1
		next += 1 + n%7
		fail(d.Log().StoreLogs(entries(from, next, 500)))
		fmt.Println("log", next)
		if n%10 == 9 && next > 100 {
			sink, err := d.Snapshots().Create(1, next, 1, raft.Configuration{}, 1, nil)
			fail(err)
			_, err = io.WriteString(sink, "state")
			fail(err)
			fail(sink.Close())
			fail(d.Log().DeleteRange(1, next-50))
			fmt.Println("deleted", next-50)
		}
		if n%3 == 0 {
			fail(d.Save("counter", n+1))
			fmt.Println("doc", n+1)
		}
		var blob uint64
		_, err := d.Load("blobs", &blob)
		fail(err)
		_, err = d.Blobs().Put(context.Background(), digestOf(blobText(blob+1)), strings.NewReader(blobText(blob+1)), 0)
		fail(err)
		fail(d.Save("blobs", blob+1))
		fmt.Println("blob", blob+1)
	}
}

func blobText(i uint64) string { return strings.Repeat(fmt.Sprintf("blob %d ", i), 3000) }

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
