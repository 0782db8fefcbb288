package graph

import (
	"fmt"
	"testing"
)

func TestLayouts(t *testing.T) {
	for _, shape := range [][]int{
		{1, 2, 1, 3}, {2, 3, 5, 7}, {1, 16, 8, 8}, {3, 17, 9, 13}, {1, 150, 60, 80}, {2, 40, 65, 67}, {5, 3, 240, 320},
	} {
		n, c, hw := shape[0], shape[1], shape[2]*shape[3]
		rows := make([]float32, n*c*hw)
		for i := range rows {
			rows[i] = float32(i) // exact below 2^24
		}
		last, back := make([]float32, len(rows)), make([]float32, len(rows))
		toChannelsLast(last, rows, shape)
		fromChannelsLast(back, last, shape)
		for i, v := range rows {
			b, k, p := i/(c*hw), i/hw%c, i%hw
			if got := last[(b*hw+p)*c+k]; got != v || back[i] != v {
				t.Errorf("%v: picture %d, channel %d, pixel %d is %g, and %g again", shape, b, k, p, got, back[i])
				break
			}
		}
	}
}

func BenchmarkLayouts(b *testing.B) {
	for _, shape := range [][]int{{4, 3, 240, 320}, {1, 150, 240, 320}} {
		x := make([]float32, shape[0]*shape[1]*shape[2]*shape[3])
		y := make([]float32, len(x))
		for _, f := range []struct {
			name string
			run  func(dst, src []float32, shape []int)
		}{{"toChannelsLast", toChannelsLast}, {"fromChannelsLast", fromChannelsLast}} {
			b.Run(fmt.Sprint(f.name, shape), func(b *testing.B) {
				b.SetBytes(int64(8 * len(x)))
				for b.Loop() {
					f.run(y, x, shape)
				}
			})
		}
	}
}
