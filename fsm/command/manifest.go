package command

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// MaxManifestPlain bounds a manifest before compression, so that a small command cannot fill a node's memory.
const MaxManifestPlain = 32 << 20

// The coders are expensive to build and safe for concurrent use; with one goroutine's worth of state they start none.
var (
	packer = sync.OnceValue(func() *zstd.Encoder {
		return mode(zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression)))
	})
	unpacker = sync.OnceValue(func() *zstd.Decoder {
		return mode(zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxManifestPlain)))
	})
)

// PackManifest compresses a manifest for DeployProject. It fails with ErrTooLarge, naming both sizes.
func PackManifest(m Manifest) ([]byte, error) {
	plain, err := encoding.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if len(plain) > MaxManifestPlain {
		return nil, fmt.Errorf("manifest of %d packages: %d bytes exceed %d: %w", len(m.Packages), len(plain),
			MaxManifestPlain, ErrTooLarge)
	}
	packed := packer().EncodeAll(plain, nil)
	if len(packed) > HardManifest {
		return nil, fmt.Errorf("manifest of %d packages: %d bytes compressed exceed %d: %w", len(m.Packages), len(packed),
			HardManifest, ErrTooLarge)
	}
	return packed, nil
}

// UnpackManifest reverses PackManifest. Errors wrap ErrUndecodable.
func UnpackManifest(packed []byte) (Manifest, error) {
	if len(packed) > HardManifest {
		return Manifest{}, fmt.Errorf("manifest: %d bytes exceed %d: %w", len(packed), HardManifest, ErrUndecodable)
	}
	plain, err := unpacker().DecodeAll(packed, nil)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w: %w", ErrUndecodable, err)
	}
	if len(plain) > MaxManifestPlain {
		return Manifest{}, fmt.Errorf("manifest: %d bytes exceed %d: %w", len(plain), MaxManifestPlain, ErrUndecodable)
	}
	var m Manifest
	if err := Unmarshal(plain, &m); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}
