package graph

import (
	"runtime"
	"sync"
)

// toChannelsLast and fromChannelsLast reorder (N,C,H,W) <-> (N,H,W,C), a tile
// of pixels and channels at a time: both sides are then read and written in
// whole cache lines, and no more planes are open at once than a cache has ways.

const (
	tilePixels   = 64
	tileChannels = 16
)

// tile holds channels in rows of pixels.
type tile [tileChannels][tilePixels]float32

func toChannelsLast(dst, src []float32, shape []int) {
	c, hw := shape[1], shape[2]*shape[3]
	eachTile(shape, func(t *tile, picture, pixel, pixels, channel, channels int) {
		if c == 3 {
			at := picture*3*hw + pixel
			rgbToPixels(dst[3*(picture*hw+pixel):], src[at:at+pixels], src[at+hw:], src[at+2*hw:])
			return
		}
		for k := range channels {
			copy(t[k][:pixels], src[(picture*c+channel+k)*hw+pixel:])
		}
		at := (picture*hw+pixel)*c + channel
		for p := range pixels {
			row := dst[at : at+channels]
			for k := range row {
				row[k] = t[k&(tileChannels-1)][p&(tilePixels-1)]
			}
			at += c
		}
	})
}

// rgbToPixels is toChannelsLast for pictures, several times as fast for these.
func rgbToPixels(dst, r, g, b []float32) {
	dst, g, b = dst[:3*len(r)], g[:len(r)], b[:len(r)]
	for i, v := range r {
		p := dst[3*i : 3*i+3 : 3*i+3]
		p[0], p[1], p[2] = v, g[i], b[i]
	}
}

func fromChannelsLast(dst, src []float32, shape []int) {
	c, hw := shape[1], shape[2]*shape[3]
	eachTile(shape, func(t *tile, picture, pixel, pixels, channel, channels int) {
		at := (picture*hw+pixel)*c + channel
		p := 0
		for ; p+4 <= pixels; p += 4 { // four at a time keep the stores busy
			x0, x1 := src[at:at+channels], src[at+c:at+c+channels]
			x2, x3 := src[at+2*c:at+2*c+channels], src[at+3*c:at+3*c+channels]
			for k, v := range x0 {
				four := (*[4]float32)(t[k&(tileChannels-1)][p&(tilePixels-1):])
				four[0], four[1], four[2], four[3] = v, x1[k], x2[k], x3[k]
			}
			at += 4 * c
		}
		for ; p < pixels; p++ {
			for k, v := range src[at : at+channels] {
				t[k&(tileChannels-1)][p&(tilePixels-1)] = v
			}
			at += c
		}
		for k := range channels {
			copy(dst[(picture*c+channel+k)*hw+pixel:], t[k][:pixels])
		}
	})
}

// eachTile covers a tensor (N,C,H,W) with tiles, on all processors if it is
// large: so many pixels of a picture from one on, and so many channels.
func eachTile(shape []int, f func(t *tile, picture, pixel, pixels, channel, channels int)) {
	n, c, hw := shape[0], shape[1], shape[2]*shape[3]
	across := (hw + tilePixels - 1) / tilePixels
	cover := func(lo, hi int) {
		var t tile
		for i := lo; i < hi; i++ {
			picture, pixel := i/across, i%across*tilePixels
			for channel := 0; channel < c; channel += tileChannels {
				f(&t, picture, pixel, min(tilePixels, hw-pixel), channel, min(tileChannels, c-channel))
			}
		}
	}
	const small = 1 << 18 // elements that are done before others have begun
	workers := min(runtime.GOMAXPROCS(0), n*across)
	if n*c*hw < small || workers < 2 {
		cover(0, n*across)
		return
	}
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() { cover(w*n*across/workers, (w+1)*n*across/workers) })
	}
	wait.Wait()
}
