package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const plenty = 1 << 24 // pixels

// TestLosslessPicturesArePillows compares with checksums of what
// Image.open(f).convert("RGB").tobytes() is in Pillow 9.4.0.
func TestLosslessPicturesArePillows(t *testing.T) {
	for name, want := range map[string]uint32{
		"rgb.png": 0xa299d76a, "alpha.png": 0xa299d76a, "greyalpha.png": 0xfea920d1, "onebit.png": 0xa9116362,
		"palette.png": 0x2ac628f4, "rgb.bmp": 0xa299d76a, "deflate.tif": 0xa299d76a,
		"lossless.webp": 0xa299d76a, "lossy.webp": 0x0889b0c2, "alpha.webp": 0x1cfbb250,
	} {
		p, err := DecodePicture(filepath.Join("testdata", name), plenty, RefuseOrientation)
		if err != nil {
			t.Error(err)
		} else if got := crc32.ChecksumIEEE(p.Pix); got != want || p.Width != 37 || p.Height != 29 {
			t.Errorf("%s: %d x %d, checksum %08x, want 37 x 29, %08x", name, p.Width, p.Height, got, want)
		}
	}
}

// TestJPEGIsNearPillows: Go's and libjpeg's inverse cosine transforms round
// differently by one level in luma and chroma, which colour conversion turns
// into at most three; that concerns under one byte in ten.
func TestJPEGIsNearPillows(t *testing.T) {
	for _, name := range []string{"s444", "s420", "progressive422", "grey", "cmyk"} {
		p, err := DecodePicture(filepath.Join("testdata", name+".jpg"), plenty, RefuseOrientation)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := os.ReadFile(filepath.Join("testdata", name+".rgb"))
		if err != nil || len(want) != len(p.Pix) {
			t.Fatalf("%s: %d bytes, fixture %d (%v)", name, len(p.Pix), len(want), err)
		}
		differ, most := 0, 0
		for i := range want {
			d := int(want[i]) - int(p.Pix[i])
			most = max(most, d, -d)
			if d != 0 {
				differ++
			}
		}
		t.Logf("%s: %.2f%% of the bytes differ, by at most %d", name, 100*float64(differ)/float64(len(want)), most)
		if most > 3 || differ*10 > len(want) {
			t.Errorf("%s: %d of %d bytes differ, by at most %d", name, differ, len(want), most)
		}
	}
}

func TestOrientation(t *testing.T) {
	path := filepath.Join("testdata", "exif6.jpg")
	var turned *OrientationError
	if _, err := DecodePicture(path, plenty, RefuseOrientation); !errors.As(err, &turned) || turned.Orientation != 6 {
		t.Errorf("refuse: %v", err)
	}
	if _, _, err := Measure(path, RefuseOrientation); !errors.As(err, &turned) {
		t.Errorf("refuse: %v", err)
	}
	stored, err := DecodePicture(path, plenty, IgnoreOrientation)
	if err != nil || stored.Width != 37 || stored.Height != 29 {
		t.Fatalf("ignore: %v", err)
	}
	shown, err := DecodePicture(path, plenty, ApplyOrientation)
	if err != nil || shown.Width != 29 || shown.Height != 37 {
		t.Fatalf("apply: %v", err)
	}
	// 6: the stored left column, read upwards, is shown as the top row.
	for x := range shown.Width {
		if shown.At(x, 0) != stored.At(0, stored.Height-1-x) {
			t.Fatalf("pixel (%d, 0) of the shown picture is not (0, %d) of the stored one", x, stored.Height-1-x)
		}
	}
	if w, h, err := Measure(path, ApplyOrientation); err != nil || w != 29 || h != 37 {
		t.Errorf("Measure: %d x %d, %v", w, h, err)
	}
}

// TestOrientAll checks every EXIF orientation on a 2 x 3 picture: where the
// stored first row and column end up is EXIF's definition.
func TestOrientAll(t *testing.T) {
	p := NewPicture(2, 3) // a b / c d / e f
	for i, v := range "abcdef" {
		p.Pix[3*i] = uint8(v)
	}
	for o, want := range map[int]string{1: "ab cd ef", 2: "ba dc fe", 3: "fe dc ba", 4: "ef cd ab",
		5: "ace bdf", 6: "eca fdb", 7: "fdb eca", 8: "bdf ace"} {
		q := orient(p, o)
		var rows []string
		for y := range q.Height {
			row := ""
			for x := range q.Width {
				row += string(rune(q.Pix[3*(y*q.Width+x)]))
			}
			rows = append(rows, row)
		}
		if got := strings.Join(rows, " "); got != want {
			t.Errorf("orientation %d: %s, want %s", o, got, want)
		}
	}
}

func TestExifOrientationBytes(t *testing.T) {
	segment := func(order binary.AppendByteOrder, mark string, value uint16) []byte {
		b := append([]byte("Exif\x00\x00"), mark...)
		b = order.AppendUint16(b, 42)
		b = order.AppendUint32(b, 8)
		b = order.AppendUint16(b, 1)
		b = order.AppendUint16(b, 0x112)
		b = order.AppendUint16(b, 3)
		b = order.AppendUint32(b, 1)
		b = order.AppendUint16(b, value)
		b = append(b, 0, 0, 0, 0, 0, 0)
		file := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xe1}
		file = binary.BigEndian.AppendUint16(file, uint16(len(b)+2))
		return append(file, b...)
	}
	for name, tc := range map[string]struct {
		file []byte
		want int
	}{
		"little":    {segment(binary.LittleEndian, "II", 3), 3},
		"big":       {segment(binary.BigEndian, "MM", 8), 8},
		"no value":  {segment(binary.BigEndian, "MM", 9), 1},
		"no order":  {segment(binary.BigEndian, "XX", 8), 1},
		"truncated": {segment(binary.LittleEndian, "II", 3)[:40], 1},
		"empty":     {nil, 1},
		"no jpeg":   {[]byte("\x89PNG1234"), 1},
	} {
		if got := exifOrientation(tc.file); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func write(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func pngBytes(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnreadablePictures(t *testing.T) {
	dir := t.TempDir()
	good := pngBytes(t, NewPicture(40, 30))
	bomb := bytes.Clone(good)
	binary.BigEndian.PutUint32(bomb[16:], 20000)
	binary.BigEndian.PutUint32(bomb[20:], 20000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	for name, b := range map[string][]byte{
		"empty.png": {}, "text.jpg": []byte("hello, world"), "short.png": good[:len(good)-20], "forged.png": bomb,
	} {
		path := write(t, dir, name, b)
		var e *DecodeError
		if _, err := DecodePicture(path, 1<<30, RefuseOrientation); !errors.As(err, &e) || e.File != path {
			t.Errorf("%s: %v", name, err)
		}
	}
	var large *TooLargeError
	if _, err := DecodePicture(write(t, dir, "a.png", good), 1199, RefuseOrientation); !errors.As(err, &large) || large.Width != 40 {
		t.Errorf("40 x 30 with 1199 pixels allowed: %v", err)
	}
	if _, err := DecodePicture(filepath.Join(dir, "none.png"), plenty, RefuseOrientation); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	var e *DecodeError
	if _, err := DecodePicture(dir, plenty, RefuseOrientation); !errors.As(err, &e) {
		t.Errorf("folder: %v", err)
	}
}

var abc = Labels{Classes: 3, Shift: 1, Index: -1, Ignore: []int{255}}

// TestMaskFormats writes one mask, values 0 1 2 / 3 255 1, in every form.
func TestMaskFormats(t *testing.T) {
	dir := t.TempDir()
	values := []uint8{0, 1, 2, 3, 255, 1}
	grey := image.NewGray(image.Rect(0, 0, 3, 2))
	copy(grey.Pix, values)
	pal := image.NewPaletted(grey.Rect, make(color.Palette, 256))
	for i := range pal.Palette { // colours unrelated to indices, some equal
		pal.Palette[i] = color.RGBA{uint8(37 * i), uint8(i / 9), 200, 255}
	}
	copy(pal.Pix, values)
	wide := image.NewGray16(grey.Rect)
	rgb := image.NewNRGBA(grey.Rect)
	clear := image.NewNRGBA(grey.Rect) // transparent where 0
	for i, v := range values {
		wide.SetGray16(i%3, i/3, color.Gray16{uint16(v)})
		rgb.SetNRGBA(i%3, i/3, color.NRGBA{v, v, v, 255})
		clear.SetNRGBA(i%3, i/3, color.NRGBA{v, v, v, min(v, 1) * 255})
	}
	for name, img := range map[string]image.Image{"grey": grey, "palette": pal, "16 bit": wide, "equal colours": rgb, "transparent": clear} {
		m, err := DecodeMask(write(t, dir, name+".png", pngBytes(t, img)), plenty, abc)
		if err != nil {
			t.Error(err)
			continue
		}
		got := m.Labels(nil)
		for i, want := range []int32{-1, 0, 1, 2, -1, 0} {
			if got[i] != want {
				t.Errorf("%s: labels %v", name, got)
				break
			}
		}
	}
}

// TestFewBits reads grey PNG of 1, 2 and 4 bits, whose values the library
// spreads over 0..255.
func TestFewBits(t *testing.T) {
	for depth, values := range map[int][]int32{1: {0, 1, 1, 0}, 2: {0, 1, 2, 3}, 4: {0, 5, 10, 15}} {
		var row byte
		var raw []byte
		bits := 0
		for _, v := range values {
			row, bits = row<<depth|byte(v), bits+depth
			if bits == 8 {
				raw, row, bits = append(raw, row), 0, 0
			}
		}
		if bits > 0 {
			raw = append(raw, row<<(8-bits))
		}
		path := write(t, t.TempDir(), "m.png", storedPNG(4, 1, depth, 0, append([]byte{0}, raw...)))
		m, err := DecodeMask(path, plenty, Labels{Classes: 16, Shift: 0, Index: -1})
		if err != nil {
			t.Error(err)
			continue
		}
		for i, v := range m.Labels(nil) {
			if v != values[i] {
				t.Errorf("%d bits: %v, want %v", depth, m.Labels(nil), values)
				break
			}
		}
	}
}

// storedPNG writes a PNG whose compressed data is a single stored block.
func storedPNG(w, h, depth, colour int, raw []byte) []byte {
	chunk := func(b []byte, kind string, body []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
		start := len(b)
		b = append(append(b, kind...), body...)
		return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(w))
	head = binary.BigEndian.AppendUint32(head, uint32(h))
	head = append(head, byte(depth), byte(colour), 0, 0, 0)
	z := []byte{0x78, 1, 1, byte(len(raw)), byte(len(raw) >> 8), ^byte(len(raw)), ^byte(len(raw) >> 8)}
	z = append(z, raw...)
	a, b := uint32(1), uint32(0)
	for _, v := range raw {
		a = (a + uint32(v)) % 65521
		b = (b + a) % 65521
	}
	z = binary.BigEndian.AppendUint32(z, b<<16|a)
	out := []byte("\x89PNG\r\n\x1a\n")
	out = chunk(out, "IHDR", head)
	out = chunk(out, "IDAT", z)
	return chunk(out, "IEND", nil)
}

func TestMaskErrors(t *testing.T) {
	dir := t.TempDir()
	grey := image.NewGray(image.Rect(0, 0, 5, 4))
	for i := range grey.Pix {
		grey.Pix[i] = 1
	}
	grey.SetGray(3, 2, color.Gray{4})
	path := write(t, dir, "range.png", pngBytes(t, grey))
	var label *LabelError
	_, err := DecodeMask(path, plenty, abc)
	if !errors.As(err, &label) || label.File != path || label.Value != 4 || label.X != 3 || label.Y != 2 {
		t.Fatalf("out of range: %v", err)
	}
	for _, part := range []string{path, "label 4 ", "(x 3, y 2)", "1..3", "0, 255 for ignored"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	rgb := NewPicture(5, 4)
	rgb.Pix[3*7] = 9
	if _, err := DecodeMask(write(t, dir, "rgb.png", pngBytes(t, rgb)), plenty, abc); !errors.Is(err, errColourMask) || !strings.Contains(err.Error(), "x 2, y 1") {
		t.Errorf("colours: %v", err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, grey, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeMask(write(t, dir, "m.jpg", b.Bytes()), plenty, abc); !errors.Is(err, errLossyMask) {
		t.Errorf("JPEG: %v", err)
	}
	if _, err := DecodeMask(filepath.Join("testdata", "lossy.webp"), plenty, abc); !errors.Is(err, errLossyMask) {
		t.Errorf("lossy WebP: %v", err)
	}
}

func TestLabelRules(t *testing.T) {
	for _, tc := range []struct {
		rule  Labels
		value int
		class int
		ok    bool
	}{
		{Labels{Classes: 150, Shift: 1, Index: -1}, 0, -1, true}, // the reference
		{Labels{Classes: 150, Shift: 1, Index: -1}, 150, 149, true},
		{Labels{Classes: 150, Shift: 1, Index: -1}, 151, 0, false},
		{Labels{Classes: 3, Shift: 0, Index: -1}, 0, 0, true},
		{Labels{Classes: 3, Shift: 0, Index: -1}, 255, 0, false},
		{Labels{Classes: 3, Shift: 0, Index: -1, Ignore: []int{255}}, 255, -1, true},
		{Labels{Classes: 3, Shift: 0, Index: 2}, 2, -1, true},
		{Labels{Classes: 3, Shift: 0, Index: 255}, 255, -1, true}, // an index outside the classes
		{Labels{Classes: 3, Shift: 2, Index: -1}, 0, 0, false},
		{Labels{Classes: 3, Shift: -1, Index: -1}, 0, 1, true},
		{Labels{Classes: 65535, Shift: 1, Index: -1}, 65535, 65534, true},
	} {
		if class, ok := tc.rule.Class(tc.value); class != tc.class || ok != tc.ok {
			t.Errorf("%+v: value %d is class %d, %t; want %d, %t", tc.rule, tc.value, class, ok, tc.class, tc.ok)
		}
		want := int32(tc.class + 1)
		if !tc.ok {
			want = outside
		}
		if got := tc.rule.table()[tc.value]; got != want {
			t.Errorf("%+v: table of %d is %d, want %d", tc.rule, tc.value, got, want)
		}
	}
}
