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

// tileConfigs are the shapes by words of a piece - 1 and by rows of a tile, of
// which 0 stands for all: sums in tiles 0 to 3, a in 4, b in 5.
var tileConfigs = func() (all [amxDepth][16]tileConfig) {
	for k := range all {
		for r := range all[k] {
			c := &all[k][r]
			c.palette = 1
			rows := uint8(r)
			if r == 0 {
				rows = 16
			}
			for t := range 4 {
				c.rows[t], c.bytes[t] = rows, 64
			}
			c.rows[4], c.bytes[4] = rows, uint16(4*(k+1))
			c.rows[5], c.bytes[5] = uint8(k+1), 64
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
	shapes := &tileConfigs[max(words, 1)-1]
	t.config, t.rest = &shapes[0], &shapes[t.rows%16]
}
