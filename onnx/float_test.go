package onnx

import (
	"math"
	"testing"
)

// Every half is widened and rounded back to itself, and every boundary between
// two halves rounds to the nearer one or, on the tie, to the even one.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		bits := uint16(h)
		f := FromFloat16(bits)
		if back := Float16(f); back != bits && !(f != f && back&0x7c00 == 0x7c00 && back&0x3ff != 0) {
			t.Fatalf("%#04x widens to %g and comes back as %#04x", bits, f, back)
		}
		sign, exp, man := 1.0, h>>10&0x1f, float64(h&0x3ff)
		if h>>15 == 1 {
			sign = -1
		}
		want := sign * math.Ldexp(1+man/1024, exp-15)
		if exp == 0 {
			want = sign * math.Ldexp(man/1024, -14)
		}
		if exp < 0x1f && float64(f) != want {
			t.Fatalf("%#04x widens to %g, want %g", bits, f, want)
		}
	}
	for h := uint16(0); h < 0x7bff; h++ { // positive, finite, with a successor
		lo, hi := FromFloat16(h), FromFloat16(h+1)
		mid := lo + (hi-lo)/2
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{
			{mid, even}, {math.Nextafter32(mid, 0), h}, {math.Nextafter32(mid, hi), h + 1},
		} {
			if got := Float16(c.f); got != c.want {
				t.Fatalf("%g rounds to %#04x, want %#04x", c.f, got, c.want)
			}
			if got := Float16(-c.f); got != c.want|0x8000 {
				t.Fatalf("%g rounds to %#04x, want %#04x", -c.f, got, c.want|0x8000)
			}
		}
	}
	for f, want := range map[float32]uint16{
		65519: 0x7bff, 65520: 0x7c00, 1e30: 0x7c00, float32(math.Inf(-1)): 0xfc00, 1e-30: 0,
	} {
		if got := Float16(f); got != want {
			t.Errorf("%g rounds to %#04x, want %#04x", f, got, want)
		}
	}
	if h := Float16(float32(math.NaN())); h&0x7c00 != 0x7c00 || h&0x3ff == 0 {
		t.Errorf("NaN becomes %#04x", h)
	}
}

func TestBFloat16(t *testing.T) {
	for h := range 1 << 16 {
		f := FromBFloat16(uint16(h))
		if back := BFloat16(f); f == f && back != uint16(h) {
			t.Fatalf("%#04x comes back as %#04x", h, back)
		}
	}
	for _, c := range []struct {
		bits uint32
		want uint16
	}{
		{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f807fff, 0x3f80}, {0x3f808001, 0x3f81},
		{0x7f7fffff, 0x7f80}, {0x7f800001, 0x7fc0}, {0xffc12345, 0xffc1},
	} {
		if got := BFloat16(math.Float32frombits(c.bits)); got != c.want {
			t.Errorf("%#08x rounds to %#04x, want %#04x", c.bits, got, c.want)
		}
	}
}
