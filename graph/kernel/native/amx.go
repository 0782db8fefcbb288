package native

// AMX multiplies bfloat16 by tiles, like AVX512_BF16 in pairs, with sums in
// float32 and denormal numbers taken for zero: up to 16 rows of a by 16 columns of b, over up to 16
// words. Runs of more words are cut into pieces of 16. The last piece ends with
// the run; what it shares with the piece before it has zeros in b. (An infinite
// number there makes the sum NaN, to which it is infinite anyway.)

// amxDepth is the words of a piece.
const amxDepth = 16

// amxSteps is how many rows of b a run of so many words has.
func amxSteps(words int) int {
	if words <= amxDepth {
		return words
	}
	return roundUp(words, amxDepth)
}

// alignRun moves the last rows of b, in which a run of so many words has been
// packed from the start, to where the run's last piece expects them.
func alignRun(b []float32, words, nr int) {
	rest := words % amxDepth
	if words < amxDepth || rest == 0 {
		return
	}
	end := amxSteps(words)
	copy(b[(end-rest)*nr:end*nr], b[(words-rest)*nr:words*nr])
	clear(b[(words-rest)*nr : (end-rest)*nr])
}

// tileConfig is the operand of LDTILECFG.
type tileConfig struct {
	palette, start uint8
	_              [14]uint8
	bytes          [16]uint16 // of a row of every tile
	rows           [16]uint8
}

// set gives a tile rows of so many bytes. One without rows stays unused.
func (c *tileConfig) set(tile, rows, bytes int) {
	if rows > 0 {
		c.rows[tile], c.bytes[tile] = uint8(rows), uint16(bytes)
	}
}

// tileConfigs are the shapes by words of a piece - 1 and by lower, the rows of
// the last one or two tiles below each other, 0 for whole tiles: sums in tiles 0
// to 5, two beside each other; a in 6, of two last tiles the second in 4; b in 7.
var tileConfigs = func() (all [amxDepth][32]tileConfig) {
	for k := range all {
		for lower := range all[k] {
			c, words := &all[k][lower], 4*(k+1)
			c.palette = 1
			first, second := min(lower, 16), lower-16
			if lower == 0 {
				first, second = 16, 16
				c.set(4, 16, 64)
				c.set(5, 16, 64)
			} else {
				c.set(4, second, words)
			}
			for t := range 2 {
				c.set(t, first, 64)
				c.set(2+t, second, 64)
			}
			c.set(6, first, words)
			c.set(7, k+1, 64)
		}
	}
	return all
}()

// shapeAMX sets what the micro-kernels of AMX know by themselves.
func (t *tile) shapeAMX() {
	words := min(t.steps, amxDepth)
	t.chunks = ceilDiv(t.steps, amxDepth)
	t.back = 0
	if t.steps > amxDepth {
		t.back = 4 * (t.steps - t.chunks*amxDepth)
	}
	t.lower = t.rows % 16
	if t.lower > 0 && t.rows > 16 {
		t.lower += 16
	}
	shapes := &tileConfigs[max(words, 1)-1]
	t.config, t.rest = &shapes[0], &shapes[t.lower]
}
