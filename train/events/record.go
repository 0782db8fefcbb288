package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the CRC-32C of b, rotated and shifted as the format has it, since
// checksums of data that holds checksums are weak.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// frameBytes is what a frame adds to its content.
const frameBytes = 16

// appendRecord appends the frame of a content to b.
func appendRecord(b, content []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(content)))
	b = binary.LittleEndian.AppendUint32(b, masked(b[start:]))
	b = append(b, content...)
	return binary.LittleEndian.AppendUint32(b, masked(content))
}

// errRecord marks a frame that is cut short or damaged.
var errRecord = errors.New("damaged record")

// maxRecord bounds the content of a frame that is read, bytes.
const maxRecord = 64 << 20

// readRecord reads the content of the next frame: io.EOF at the end, errRecord
// where there is no whole one.
func readRecord(r io.Reader) ([]byte, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errRecord
		}
		return nil, err
	}
	n := binary.LittleEndian.Uint64(head[:])
	if binary.LittleEndian.Uint32(head[8:]) != masked(head[:8]) {
		return nil, errRecord
	}
	if n > maxRecord {
		return nil, fmt.Errorf("%w of %d bytes", errRecord, n)
	}
	b := make([]byte, n+4)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errRecord
		}
		return nil, err
	}
	if binary.LittleEndian.Uint32(b[n:]) != masked(b[:n]) {
		return nil, errRecord
	}
	return b[:n], nil
}
