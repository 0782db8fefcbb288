package data

import (
	"math"
	"math/rand/v2"
)

// Weights of red, green and blue in a pixel's grey (ITU-R BT.601), as Pillow
// and torchvision have them.
const (
	greyRed   = 0.299
	greyGreen = 0.587
	greyBlue  = 0.114
)

// jitter changes colours, in the order of its fields. Factors of 1 and a hue
// of 0 change nothing.
type jitter struct {
	brightness float64 // factor of every value
	contrast   float64 // factor of the distance to the picture's mean grey
	saturation float64 // factor of the distance to the pixel's own grey
	hue        float64 // added to the hue, in turns
}

// apply changes packed RGB; dst and src have one length. Values are clamped
// after every step and rounded once, at the end.
func (j jitter) apply(dst, src []uint8) {
	// Brightness and contrast act on every value alone: one table.
	var counts [3][256]int
	for i := 0; i < len(src); i += 3 {
		counts[0][src[i]]++
		counts[1][src[i+1]]++
		counts[2][src[i+2]]++
	}
	var table [256]float64
	mean := 0.0
	for v := range table {
		table[v] = limit(float64(v) * j.brightness)
		mean += table[v] * (greyRed*float64(counts[0][v]) + greyGreen*float64(counts[1][v]) + greyBlue*float64(counts[2][v]))
	}
	mean /= math.Max(1, float64(len(src)/3))
	for v := range table {
		table[v] = limit(j.contrast*table[v] + (1-j.contrast)*mean)
	}
	for i := 0; i < len(src); i += 3 {
		r, g, b := table[src[i]], table[src[i+1]], table[src[i+2]]
		if j.saturation != 1 {
			rest := (1 - j.saturation) * (greyRed*r + greyGreen*g + greyBlue*b)
			r, g, b = limit(j.saturation*r+rest), limit(j.saturation*g+rest), limit(j.saturation*b+rest)
		}
		if j.hue != 0 {
			r, g, b = turnHue(r, g, b, j.hue)
		}
		dst[i], dst[i+1], dst[i+2] = uint8(r+0.5), uint8(g+0.5), uint8(b+0.5)
	}
}

func limit(v float64) float64 { return math.Min(math.Max(v, 0), 255) }

// turnHue turns a colour's hue in the HSV hexagon, keeping saturation and
// value.
func turnHue(r, g, b, turns float64) (float64, float64, float64) {
	high, low := math.Max(r, math.Max(g, b)), math.Min(r, math.Min(g, b))
	span := high - low
	if span == 0 {
		return r, g, b
	}
	var at float64 // 0..6, red at 0, green at 2, blue at 4
	switch high {
	case r:
		at = (g - b) / span
	case g:
		at = 2 + (b-r)/span
	default:
		at = 4 + (r-g)/span
	}
	at = math.Mod(at+6*turns+12, 6)
	sector := math.Floor(at)
	rise := low + span*(at-sector)
	fall := high - span*(at-sector)
	switch int(sector) {
	case 0:
		return high, rise, low
	case 1:
		return fall, high, low
	case 2:
		return low, high, rise
	case 3:
		return low, fall, high
	case 4:
		return rise, low, high
	default:
		return high, low, fall
	}
}

// blurrer is the scratch of Gaussian blurring.
type blurrer struct {
	weights []float32
	rows    []float32 // (h,w,3)
	sum     []float32 // (w,3)
}

// apply blurs packed RGB with a Gaussian of sigma pixels, cut off at three
// sigma, the border's pixels repeated beyond it.
func (k *blurrer) apply(dst, src []uint8, w, h int, sigma float64) {
	radius := int(math.Ceil(3 * sigma))
	if radius == 0 {
		copy(dst, src)
		return
	}
	k.weights = grow(k.weights, 2*radius+1)
	total := 0.0
	for i := range k.weights {
		d := float64(i-radius) / sigma
		v := math.Exp(-d * d / 2)
		k.weights[i] = float32(v)
		total += v
	}
	for i := range k.weights {
		k.weights[i] /= float32(total)
	}
	k.rows = grow(k.rows, 3*w*h)
	for y := range h {
		in, out := src[3*y*w:3*(y+1)*w], k.rows[3*y*w:3*(y+1)*w]
		for x := range w {
			var r, g, b float32
			for i, weight := range k.weights {
				px := in[3*min(max(x+i-radius, 0), w-1):]
				r += weight * float32(px[0])
				g += weight * float32(px[1])
				b += weight * float32(px[2])
			}
			out[3*x], out[3*x+1], out[3*x+2] = r, g, b
		}
	}
	k.sum = grow(k.sum, 3*w)
	for y := range h {
		clear(k.sum)
		for i, weight := range k.weights {
			for j, v := range k.rows[3*w*min(max(y+i-radius, 0), h-1):][:3*w] {
				k.sum[j] += weight * v
			}
		}
		for j, v := range k.sum {
			dst[3*y*w+j] = uint8(min(v+0.5, 255))
		}
	}
}

// addNoise adds independent normal noise of the given standard deviation, in
// grey levels, to every value (Box and Muller, 1958).
func addNoise(dst, src []uint8, std float64, g *rand.PCG) {
	for i := 0; i < len(src); i += 2 {
		sin, cos := math.Sincos(2 * math.Pi * unit(g))
		length := std * math.Sqrt(-2*math.Log(1-unit(g)))
		dst[i] = uint8(limit(float64(src[i]) + length*cos + 0.5))
		if i+1 < len(src) {
			dst[i+1] = uint8(limit(float64(src[i+1]) + length*sin + 0.5))
		}
	}
}
