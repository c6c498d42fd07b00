package store

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/maphash"
)

const (
	// blockSize is what is verified at a time once the whole of a blob has been.
	blockSize = 64 << 10
	// maxBlocks bounds the outlines in memory: 8 bytes a block, 64 GiB of content.
	maxBlocks = 1 << 20
)

// seed is new in each process, so that nothing on a disk can be made to fit.
var seed = maphash.MakeSeed()

// outline says what each block of a blob is like. It is made while the whole is verified against its digest and lives in
// memory alone: whatever happens to the file later is noticed block by block, before a byte of the block is given out.
type outline struct {
	size   int64
	blocks []uint64 // hashes under seed
}

func (o *outline) holds(block int64, content []byte) bool {
	return block < int64(len(o.blocks)) && maphash.Bytes(seed, content) == o.blocks[block]
}

// outliner makes the outline and the digest of what is written to it.
type outliner struct {
	whole hash.Hash
	block maphash.Hash
	fill  int
	out   outline
}

func newOutliner() *outliner {
	o := &outliner{whole: sha256.New()}
	o.block.SetSeed(seed)
	return o
}

// Write implements io.Writer; it does not fail.
func (o *outliner) Write(p []byte) (int, error) {
	n := len(p)
	o.whole.Write(p)
	o.out.size += int64(n)
	for len(p) > 0 {
		part := p[:min(len(p), blockSize-o.fill)]
		o.block.Write(part)
		o.fill += len(part)
		p = p[len(part):]
		if o.fill == blockSize {
			o.endBlock()
		}
	}
	return n, nil
}

func (o *outliner) endBlock() {
	o.out.blocks = append(o.out.blocks, o.block.Sum64())
	o.block.Reset()
	o.fill = 0
}

// finish returns the digest and the outline of everything written.
func (o *outliner) finish() (string, *outline) {
	if o.fill > 0 {
		o.endBlock()
	}
	return hex.EncodeToString(o.whole.Sum(nil)), &o.out
}

// outlines are those of verified content by digest. Since content never changes its digest, none of them grows stale.
type outlines struct {
	known  map[string]*outline
	blocks int
}

func (o *outlines) cost(x *outline) int { return len(x.blocks) + 16 } // the map's share

func (o *outlines) add(digest string, x *outline) {
	if o.known[digest] != nil {
		return
	}
	for other, old := range o.known { // any: whoever needs it again verifies again
		if o.blocks+o.cost(x) <= maxBlocks {
			break
		}
		delete(o.known, other)
		o.blocks -= o.cost(old)
	}
	o.known[digest] = x
	o.blocks += o.cost(x)
}

func (o *outlines) drop(digest string) {
	if x := o.known[digest]; x != nil {
		delete(o.known, digest)
		o.blocks -= o.cost(x)
	}
}
