package onnx

import (
	"math/rand/v2"
	"testing"
)

func TestFormsAreCanonical(t *testing.T) {
	a := newAlgebra()
	h, w := a.atom("H"), a.atom("W")
	n := func(c int64) *form { return &form{c: c, den: 1} }
	half := func(f *form) *form { return a.div(f, n(2), true) }
	for want, got := range map[string]*form{
		"H":                h,
		"H+1":              a.add(h, n(1), 1),
		"0":                a.add(h, h, -1),
		"2*H-W":            a.add(a.mul(h, n(2)), w, -1),
		"floor(H/2)":       half(h),
		"floor((H+1)/2)":   a.add(half(a.add(h, n(1), -1)), n(1), 1), // a 3x3 of stride 2
		"floor((H+3)/4)":   half(a.add(half(a.add(h, n(1), 1)), n(1), 1)),
		"H+W":              half(a.mul(a.add(h, w, 1), n(2))),
		"floor(H/2)+3":     half(a.add(h, n(6), 1)),
		"H*W":              a.mul(w, h),
		"W":                a.div(a.mul(h, w), h, true),
		"3":                a.div(a.add(a.mul(h, n(3)), n(6), 1), a.add(h, n(2), 1), true),
		"floor((H+15)/16)": a.ceil(a.div(h, n(16), false)),
		"floor(3*H/4)":     a.floor(a.mul(h, &form{c: 3, den: 4})),
		"floor(H/W)":       a.div(h, w, true),
	} {
		if got == nil {
			t.Errorf("%s: unknown", want)
		} else if got.text() != want && !(want == "floor(3*H/4)" && got.text() == "floor((3*H)/4)") {
			t.Errorf("got %s, want %s", got.text(), want)
		}
	}
	for name, got := range map[string]*form{
		"H/0":             a.div(h, n(0), true),
		"past the limit":  a.mul(a.mul(h, n(formLimit)), n(2)),
		"float H/W":       a.div(h, w, false),
		"of unknown":      a.add(h, nil, 1),
		"a constant sum":  a.add(n(formLimit), n(formLimit), 1),
		"an endless name": a.atom(string(make([]byte, textLimit+1))),
	} {
		if got != nil {
			t.Errorf("%s: %s, want unknown", name, got.text())
		}
	}
}

// Random expressions have the value of the same arithmetic on numbers.
func TestFormsCompute(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		a := newAlgebra()
		env := map[string]int64{"H": 1 + rng.Int64N(500), "W": 1 + rng.Int64N(500)}
		f, v := a.atom("H"), env["H"]
		for range 6 {
			k := 1 + rng.Int64N(9)
			c := &form{c: k, den: 1}
			switch rng.IntN(6) {
			case 0:
				f, v = a.add(f, c, 1), v+k
			case 1:
				f, v = a.mul(f, c), v*k
			case 2:
				f, v = a.div(f, c, true), v/k
			case 3:
				f, v = a.ceil(a.div(f, c, false)), (v+k-1)/k
			case 4:
				f, v = a.add(f, a.atom("W"), 1), v+env["W"]
			case 5:
				f, v = a.add(f, a.div(a.atom("W"), c, true), 1), v+env["W"]/k
			}
			if f == nil {
				break
			}
			if got, ok := a.eval(*f, env); !ok || got != v {
				t.Fatalf("seed %d: %s is %d, want %d", seed, f.text(), got, v)
			}
			if again := a.of(a.dim(f)); again == nil || again.text() != f.text() {
				t.Fatalf("seed %d: %s changes as a dimension", seed, f.text())
			}
		}
	}
}
