package data

import (
	"encoding/binary"
	"hash/crc32"
	"image"
	"testing"

	"golang.org/x/image/draw"
)

// noise repeats the bytes the fixtures were made from: the high bytes of a
// linear congruential generator.
func noise(n int, seed uint32) []uint8 {
	out := make([]uint8, n)
	for i := range out {
		seed = seed*1664525 + 1013904223
		out[i] = uint8(seed >> 24)
	}
	return out
}

// The checksums are of what Pillow 9.4.0 returns for the same noise.
var pillowBilinear = []struct {
	sw, sh, dw, dh int
	crc            uint32
}{
	{7, 5, 13, 11, 0x2b118162},
	{64, 48, 31, 17, 0x0f2acc68},
	{480, 360, 400, 300, 0xe3e062b0},
	{100, 80, 100, 41, 0xcc70460c},
	{100, 80, 33, 80, 0x3a4e8879},
	{33, 20, 100, 90, 0xcc15a83d},
	{1, 1, 5, 4, 0x99d3a04d},
	{5, 4, 1, 1, 0xec2451b4},
	{241, 17, 3, 170, 0xb56e2d54},
	{50, 50, 50, 50, 0x7cf33127},
}

func TestBilinearIsPillow(t *testing.T) {
	var r resizer // shared, so that stale tables would show
	for _, tc := range pillowBilinear {
		src := noise(3*tc.sw*tc.sh, uint32(tc.sw*1000+tc.sh))
		got := r.rgb(nil, src, tc.sw, tc.sh, tc.dw, tc.dh)
		if crc := crc32.ChecksumIEEE(got); crc != tc.crc {
			t.Errorf("%dx%d to %dx%d: checksum %08x, Pillow's is %08x", tc.sw, tc.sh, tc.dw, tc.dh, crc, tc.crc)
		}
	}
}

// TestImageDrawIsNot records why the library is not used: its result differs
// from Pillow's in a share of the bytes.
func TestImageDrawIsNot(t *testing.T) {
	const sw, sh, dw, dh = 480, 360, 400, 300
	p := &Picture{sw, sh, noise(3*sw*sh, sw*1000+sh)}
	var r resizer
	want := r.rgb(nil, p.Pix, sw, sh, dw, dh)
	in := image.NewRGBA(p.Bounds())
	draw.Draw(in, in.Rect, p, image.Point{}, draw.Src)
	out := image.NewRGBA(image.Rect(0, 0, dw, dh))
	draw.BiLinear.Scale(out, out.Rect, in, in.Rect, draw.Src, nil)
	differ, most := 0, 0
	for i := range dw * dh {
		for c := range 3 {
			d := int(out.Pix[4*i+c]) - int(want[3*i+c])
			most = max(most, d, -d)
			if d != 0 {
				differ++
			}
		}
	}
	t.Logf("golang.org/x/image/draw: %d of %d bytes differ, by at most %d", differ, len(want), most)
	if differ == 0 {
		t.Error("golang.org/x/image/draw now agrees with Pillow: use it instead of resize.go")
	}
}

func TestNearestIsPillow(t *testing.T) {
	// Checksum over outputs 1..500 wide of an n wide ramp of 32-bit integers.
	for n, want := range map[int]uint32{
		1: 0x32689eda, 2: 0x39836ef2, 3: 0x5e5924aa, 5: 0x2bc0fd8e, 7: 0xc33017c5, 10: 0x69227b97, 14: 0x435520ff,
		48: 0x8e0e956a, 97: 0x1a75646e, 100: 0xb2c284bf, 240: 0x03d9add4, 360: 0x22c53c90, 480: 0x32f8af0c,
	} {
		var crc uint32
		var index []int32
		for m := 1; m <= 500; m++ {
			index = nearestIndex(index, n, m)
			b := make([]byte, 0, 4*m)
			for _, v := range index {
				b = binary.LittleEndian.AppendUint32(b, uint32(v))
			}
			crc = crc32.Update(crc, crc32.IEEETable, b)
		}
		if crc != want {
			t.Errorf("%d wide: checksum %08x, Pillow's is %08x", n, crc, want)
		}
	}
}

// TestLabelsAreTheReferences compares the label pipeline, flip, nearest
// neighbour, padding with 0 and nearest neighbour again, with the reference's
// steps carried out in Pillow 9.4.0.
func TestLabelsAreTheReferences(t *testing.T) {
	w := work{augmenter: augmenter{opt: &Options{MaxPixels: 1 << 20}}}
	for _, tc := range []struct {
		sw, sh, w, h, rate int
		flip               bool
		lw, lh             int
		crc                uint32
	}{
		{48, 36, 40, 30, 8, false, 5, 4, 0x7337f331},
		{48, 36, 40, 30, 8, true, 5, 4, 0xace39533},
		{37, 53, 61, 87, 4, true, 16, 22, 0xeded920e},
		{37, 53, 21, 30, 8, false, 3, 4, 0xde0d17b0},
		{20, 20, 33, 33, 1, true, 33, 33, 0xf1bec383},
		{480, 360, 400, 300, 8, false, 50, 38, 0x269a7e96},
		{19, 23, 10, 13, 16, false, 1, 1, 0xdcd967bf},
	} {
		m := &Mask{tc.sw, tc.sh, make([]uint16, tc.sw*tc.sh)}
		for i, v := range noise(tc.sw*tc.sh, uint32(tc.sw*7+tc.sh)) {
			m.Pix[i] = uint16(v % 12)
		}
		stride := tc.lw + 2 // room to the right must stay ignored
		out := make([]int32, stride*tc.lh)
		for i := range out {
			out[i] = -1
		}
		var c canvas
		c.start(Sample{NewPicture(tc.sw, tc.sh), m}, tc.w, tc.h)
		if err := w.run(&c, tc.flip, 0, 0); err != nil {
			t.Fatal(err)
		}
		w.labels(out, stride, c.mask.now, c.w, c.h, tc.rate)
		var got []byte
		for y := range tc.lh {
			row := out[y*stride : (y+1)*stride]
			for _, v := range row[:tc.lw] {
				got = append(got, uint8(v+1))
			}
			if row[tc.lw] != -1 || row[tc.lw+1] != -1 {
				t.Errorf("%+v: wrote past the label", tc)
			}
		}
		if crc := crc32.ChecksumIEEE(got); crc != tc.crc {
			t.Errorf("%+v: checksum %08x", tc, crc)
		}
	}
}
