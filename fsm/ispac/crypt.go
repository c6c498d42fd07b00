package ispac

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"crypto/fips140"
	"crypto/sha1"
	"errors"
)

// projectKey decrypts what SSIS encrypted with a project password.
type projectKey struct {
	block    cipher.Block
	verified bool // something decrypted as it should: the password is right
}

// newProjectKey derives the Triple-DES key as Windows' CryptDeriveKey does from
// the SHA-1 of the password. The salt that stands beside each value takes no
// part in it.
func newProjectKey(password string) (*projectKey, error) {
	if fips140.Enforced() {
		return nil, errors.New("SSIS encrypts with Triple-DES under a key made with SHA-1, which FIPS 140 forbids here " +
			"(GODEBUG=fips140=only); " +
			"save the project with the protection level DontSaveSensitive and set sensitive values in the catalog")
	}
	hash := sha1.Sum([]byte(password))
	key := make([]byte, 0, 2*sha1.Size)
	for _, pad := range []byte{0x36, 0x5C} {
		block := bytes.Repeat([]byte{pad}, 64)
		for i, h := range hash {
			block[i] ^= h
		}
		sum := sha1.Sum(block)
		key = append(key, sum[:]...)
	}
	block, err := des.NewTripleDESCipher(key[:24])
	if err != nil {
		return nil, err
	}
	return &projectKey{block: block}, nil
}

var errPadding = errors.New("the text does not decrypt")

// decrypt undoes CBC and PKCS#7.
func (k *projectKey) decrypt(iv, sealed []byte) ([]byte, error) {
	if len(iv) != des.BlockSize || len(sealed) == 0 || len(sealed)%des.BlockSize != 0 {
		return nil, errPadding
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(k.block, iv).CryptBlocks(plain, sealed)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > des.BlockSize {
		return nil, errPadding
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			return nil, errPadding
		}
	}
	return plain[:len(plain)-pad], nil
}
