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

// outline holds a hash of each block of a blob. It is made while the whole is verified against its digest, and is kept
// in memory only. With it, whatever happens to the file later is noticed block by block, before a byte of the block is
// given out.
type outline struct {
	size   int64
	blocks []uint64 // hashes under seed
}

func (o *outline) holds(block int64, content []byte) bool {
	return block < int64(len(o.blocks)) && maphash.Bytes(seed, content) == o.blocks[block]
}

// outliner computes the outline and the digest of what is written to it.
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
		piece := p[:min(len(p), blockSize-o.fill)]
		o.block.Write(piece)
		o.fill += len(piece)
		p = p[len(piece):]
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

// outlines are the outlines of verified blobs, by digest. Other content has another digest, so none of them gets stale.
type outlines struct {
	known  map[string]*outline
	blocks int
}

func (o *outlines) cost(x *outline) int { return len(x.blocks) + 16 } // the map's share

func (o *outlines) add(digest string, x *outline) {
	if o.known[digest] != nil {
		return
	}
	for other, old := range o.known { // in any order: a blob whose outline is gone is verified again
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
