package testutil

import (
	"bytes"
	"math/rand/v2"
)

// Mutate returns a damaged copy of a file: one to four changes of the kinds
// that transfers, disks and editors make. The same state of rng gives the same
// damage. others are further files to splice pieces from.
func Mutate(rng *rand.Rand, data []byte, others ...[]byte) []byte {
	out := bytes.Clone(data)
	for range 1 + rng.IntN(4) {
		out = mutateOnce(rng, out, others)
	}
	return out
}

func mutateOnce(rng *rand.Rand, data []byte, others [][]byte) []byte {
	if len(data) == 0 {
		return []byte{byte(rng.Uint32())}
	}
	at := rng.IntN(len(data))
	length := 1 + rng.IntN(min(64, len(data)-at))
	switch rng.IntN(9) {
	case 0: // a bit flips
		data[at] ^= 1 << rng.IntN(8)
	case 1: // a byte becomes one that often means something
		data[at] = []byte{0, 1, 0x7f, 0x80, 0xff, '\n', '"', '-'}[rng.IntN(8)]
	case 2: // a run of bytes becomes noise
		for i := range length {
			data[at+i] = byte(rng.Uint32())
		}
	case 3: // the end is missing
		return data[:at]
	case 4: // a piece is missing
		return append(data[:at], data[at+length:]...)
	case 5: // a piece comes twice
		return append(data[:at+length:at+length], data[at:]...)
	case 6: // noise is inserted
		noise := make([]byte, length)
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		return append(data[:at:at], append(noise, data[at:]...)...)
	case 7: // a number grows: all bits of several bytes set
		for i := range min(length, 9) {
			data[at+i] = 0xff
		}
	default: // a piece of another file
		if len(others) == 0 {
			return data
		}
		if other := others[rng.IntN(len(others))]; len(other) > 0 {
			from := rng.IntN(len(other))
			piece := other[from:min(len(other), from+1+rng.IntN(256))]
			return append(data[:at:at], append(bytes.Clone(piece), data[at:]...)...)
		}
	}
	return data
}
