package main

import (
	"fmt"
	"slices"
	"strings"
)

// The instructions of AMX, which Go's assembler does not know: VEX-encoded,
// opcode map 0F38 (Intel's Software Developer's Manual, volume 2).
const (
	vexPlain = 0
	vexF3    = 2
	vexF2    = 3
)

// dotTile adds to tile dst, for every row of tile a and column of tile b, the
// products of their pairs of bfloat16: TDPBF16PS.
func dotTile(dst, a, b int) string { return vex(vexF3, 0x5c, b, 0xc0|dst<<3|a) }

// zeroTile clears a tile: TILEZERO.
func zeroTile(dst int) string { return vex(vexF2, 0x49, 0, 0xc0|dst<<3) }

// releaseTiles ends the use of tiles: TILERELEASE.
func releaseTiles() string { return vex(vexPlain, 0x49, 0, 0xc0) }

// configureTiles reads the tiles' shapes from memory at a register: LDTILECFG.
func configureTiles(base string) string { return vexMemory(vexPlain, 0x49, 0, base, "", 0) }

// loadTile and storeTile move a tile whose rows lie in memory from base+disp
// on, as many bytes apart as the register stride holds: TILELOADD, TILESTORED.
func loadTile(dst int, base, stride string, disp int) string {
	return vexMemory(vexF2, 0x4b, dst, base, stride, disp)
}

func storeTile(src int, base, stride string, disp int) string {
	return vexMemory(vexF3, 0x4b, src, base, stride, disp)
}

// general lists the general registers by their number in the encoding.
var general = []string{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

// vex encodes an instruction on tiles alone.
func vex(prefix, opcode, vvvv, modrm int) string {
	return bytesOf(0xc4, 0xe2, (^vvvv&15)<<3|prefix, opcode, modrm)
}

// vexMemory encodes an instruction with an operand in memory, always with a
// displacement of 32 bits; without an index it is the base alone.
func vexMemory(prefix, opcode, reg int, base, index string, disp int) string {
	b, i := slices.Index(general, base), 4 // 4 is no index
	if index != "" {
		i = slices.Index(general, index)
	}
	if b < 0 || i < 0 || index == "SP" {
		panic(fmt.Sprintf("no address (%s)(%s*1)", base, index))
	}
	return bytesOf(0xc4, 0x82|(^i>>3&1)<<6|(^b>>3&1)<<5, 15<<3|prefix, opcode,
		2<<6|reg<<3|4, i&7<<3|b&7, disp&255, disp>>8&255, disp>>16&255, disp>>24&255)
}

// bytesOf is machine code that the assembler takes as it is.
func bytesOf(code ...int) string {
	all := make([]string, len(code))
	for i, b := range code {
		all[i] = fmt.Sprintf("BYTE $0x%02x", b)
	}
	return strings.Join(all, "; ")
}

const (
	tileRows = 16  // of a tile of AMX
	tileSize = 64  // bytes of its rows
	sumsRow  = 128 // bytes of a row of the sums that a block leaves on the stack
	panelRow = 128 // bytes of a row of b, whose tiles lie beside each other
)

// Tiles of AMX: up to 3 by 2 of sums, then one of a and one of b. Sums of 3 by 2
// take fewer cache lines a product than any other shape, and lines of the
// second-level cache are what products wait for: with a and b from there, 1.35
// times as fast as 2 by 2 (both fetched ahead; 1.2 of it by fetching).
const (
	rowTiles = 3
	aTile    = 6
	bTile    = 7
	// lastTile is a of the last row of tiles, whose tiles are lower. There are but
	// two rows then.
	lastTile = 4
)

func sumTile(i, j int) int { return 2*i + j }

// amx emits the dense micro-kernels of AMX, for one and for two tiles of columns.
func amx(f *file) {
	for n := 1; n <= 2; n++ {
		tileAMX(f, n)
	}
	fmt.Fprintf(&f.decl, "\n// tilesAMX holds the micro-kernels by tiles of columns-1.\n")
	fmt.Fprintf(&f.decl, "var tilesAMX = [...]func(t *tile){tile1AMX, tile2AMX}\n")
	fmt.Fprintf(&f.decl, "\n// zeros is the bias of those without one.\nvar zeros [32]float32\n")
}

// tileAMX emits the micro-kernel for n tiles of columns. It goes down the rows
// of c by blocks of three tiles, two where four are left; the last block is lower
// if rows fill no tile, has up to two tiles and their own shape. Sums go through
// memory on the stack to vector registers, where c or bias is added. The
// registers: DI t, R8 and R9 the bytes of a row of a and of b, R10 what is added,
// R12 the result, R13 its row's bytes, R14 the bytes of 16 rows of b, R15 the
// sums.
func tileAMX(f *file, n int) {
	const (
		left  = "left-8(SP)"   // rows of whole tiles
		a     = "a-16(SP)"     // of the block
		added = "added-24(SP)" // bytes to the next row of what is added
		after = "after-32(SP)" // and past a line's end
		next  = "next-40(SP)"  // of the result
		at    = "at-48(SP)"    // position in the line
		pitch = "pitch-56(SP)" // rows of a line, dropped ones included
		plus  = "plus-64(SP)"  // R10, R12 and R13, while they serve the sums
		to    = "to-72(SP)"
		row   = "row-80(SP)"
		other = "other-88(SP)" // 0 if nothing is added to sums and nothing bounds them
		frame = rowTiles*tileRows*sumsRow + tileSize + 88
	)
	name := fmt.Sprintf("tile%dAMX", n)
	f.declare("%s(t *tile)", name)
	f.p("\n// func %s(t *tile)", name)
	f.p("TEXT ·%s(SB), 0, $%d-8", name, frame)
	f.p("	MOVQ t+0(FP), DI")
	f.p("	MOVQ tile_mask(DI), AX")
	f.p("	VMOVDQU32 (AX), Z0")
	f.p("	VPMOVD2M Z0, K1")
	f.p("	KXNORW K0, K0, K2")
	f.p("	KUNPCKWD K2, K1, K3 // the columns of two tiles")
	f.p("	LEAQ sums-%d(SP), R15", frame)
	f.p("	ADDQ $%d, R15", tileSize-1)
	f.p("	ANDQ $-%d, R15", tileSize)
	f.p("	MOVQ tile_aRow(DI), R8")
	f.p("	SHLQ $2, R8")
	f.p("	MOVQ tile_bStep(DI), R9")
	f.p("	SHLQ $2, R9")
	f.p("	MOVQ R9, R14")
	f.p("	SHLQ $4, R14")
	f.p("	MOVQ tile_rows(DI), AX")
	f.p("	SUBQ tile_lower(DI), AX")
	f.p("	MOVQ AX, %s", left)
	f.p("	MOVQ tile_a(DI), AX")
	f.p("	MOVQ AX, %s", a)
	f.p("	MOVQ $0, %s", at)
	f.p("	MOVQ tile_line(DI), AX")
	f.p("	ADDQ tile_gap(DI), AX")
	f.p("	MOVQ AX, %s", pitch)

	f.p("	// The result, in c or in half.")
	f.p("	MOVQ tile_cRow(DI), R13")
	f.p("	MOVQ tile_next(DI), AX")
	f.p("	MOVQ tile_half(DI), R12")
	f.p("	SHLQ $1, R13")
	f.p("	SHLQ $1, AX")
	f.p("	TESTQ R12, R12")
	f.p("	JNZ result")
	f.p("	MOVQ tile_c(DI), R12")
	f.p("	SHLQ $1, R13")
	f.p("	SHLQ $1, AX")
	f.p("result:")
	f.p("	MOVQ AX, %s", next)

	f.p("	// What is added: the old c, the bias in every row, or zeros.")
	f.p("	CMPB tile_accumulate(DI), $0")
	f.p("	JE fresh")
	f.p("	MOVQ tile_c(DI), R10")
	f.p("	MOVQ tile_cRow(DI), R11")
	f.p("	MOVQ tile_next(DI), AX")
	f.p("	SHLQ $2, R11")
	f.p("	SHLQ $2, AX")
	f.p("	JMP summand")
	f.p("fresh:")
	f.p("	XORQ R11, R11")
	f.p("	XORQ AX, AX")
	f.p("	MOVQ tile_bias(DI), R10")
	f.p("	TESTQ R10, R10")
	f.p("	JNZ summand")
	f.p("	LEAQ ·zeros(SB), R10")
	f.p("summand:")
	f.p("	MOVQ R11, %s", added)
	f.p("	MOVQ AX, %s", after)

	f.p("	// Without an activation nothing is out of bounds.")
	f.p("	MOVL $0xff800000, AX")
	f.p("	MOVL $0x7f800000, BX")
	f.p("	CMPB tile_clip(DI), $0")
	f.p("	JE bounds")
	f.p("	MOVL tile_lo(DI), AX")
	f.p("	MOVL tile_hi(DI), BX")
	f.p("bounds:")
	f.p("	VPBROADCASTD AX, Z30")
	f.p("	VPBROADCASTD BX, Z31")
	f.p("	MOVBQZX tile_accumulate(DI), AX")
	f.p("	MOVBQZX tile_clip(DI), BX")
	f.p("	ORQ BX, AX")
	f.p("	ORQ tile_bias(DI), AX")
	f.p("	MOVQ AX, %s", other)

	f.p("	MOVQ tile_config(DI), AX")
	f.p("	%s // LDTILECFG (AX)", configureTiles("AX"))
	f.p("\nblock:")
	f.p("	MOVQ %s, R11", left)
	f.p("	TESTQ R11, R11")
	f.p("	JZ lower")
	for m := 1; m < rowTiles; m++ {
		f.p("	CMPQ R11, $%d", m*tileRows)
		f.p("	JEQ sum%d", m)
	}
	f.p("	CMPQ R11, $%d", (rowTiles+1)*tileRows)
	f.p("	JEQ sum%d", rowTiles-1)
	block := func(label string, m int, last bool) {
		f.p("\n%s:", label)
		fetchC(f, m)
		f.p("	MOVQ R10, %s", plus)
		f.p("	MOVQ R12, %s", to)
		f.p("	MOVQ R13, %s", row)
		sumTiles(f, label, a, m, n, last)
		if last {
			f.p("	MOVQ tile_lower(DI), R11")
		} else {
			f.p("	MOVQ $%d, R11", m*tileRows)
		}
		f.p("	JMP write")
	}
	for m := rowTiles; m > 0; m-- {
		block(fmt.Sprintf("sum%d", m), m, false)
	}
	f.p("\nlower:")
	f.p("	CMPQ tile_lower(DI), $0")
	f.p("	JE done")
	f.p("	MOVQ tile_rest(DI), AX")
	f.p("	%s // LDTILECFG (AX)", configureTiles("AX"))
	f.p("	CMPQ tile_lower(DI), $%d", tileRows)
	f.p("	JGT last2")
	block("last1", 1, true)
	block("last2", 2, true)

	f.p("\nwrite:")
	f.p("	MOVQ %s, R10", plus)
	f.p("	MOVQ %s, R12", to)
	f.p("	MOVQ %s, R13", row)
	f.p("	MOVQ R15, SI")
	f.p("	MOVQ R11, CX")
	f.p("	MOVQ %s, DX", at)
	f.p("	MOVQ %s, BX", added)
	full := func() {
		for j := range n - 1 {
			f.p("	VMOVUPS Z%d, %d(R12)", j, tileSize*j)
		}
		f.p("	VMOVUPS Z%d, K1, %d(R12)", n-1, tileSize*(n-1))
	}
	half := func() {
		if n == 1 {
			f.p("	%s // Z0 to bfloat16 in Y0", narrow(0, 0))
			f.p("	VMOVDQU16 Y0, K1, (R12)")
			return
		}
		f.p("	%s // Z0, Z1 to bfloat16 in Z0", narrowTwo(0, 0, 1))
		f.p("	VMOVDQU16 Z0, K3, (R12)")
	}
	f.p("	CMPQ tile_half(DI), $0")
	f.p("	JNE narrow")
	f.p("	CMPQ %s, $0", other)
	f.p("	JE plain")
	writeSums(f, "row", n, true, next, after, pitch, full)
	f.p("	JMP written")
	f.p("\nplain:")
	writeSums(f, "plainRow", n, false, next, after, pitch, full)
	f.p("	JMP written")
	f.p("\nnarrow:")
	f.p("	CMPQ %s, $0", other)
	f.p("	JE plainNarrow")
	writeSums(f, "short", n, true, next, after, pitch, half)
	f.p("	JMP written")
	f.p("\nplainNarrow:")
	writeSums(f, "plainShort", n, false, next, after, pitch, half)
	f.p("\nwritten:")
	f.p("	MOVQ DX, %s", at)
	f.p("	MOVQ R8, AX")
	f.p("	IMULQ R11, AX")
	f.p("	ADDQ AX, %s", a)
	f.p("	SUBQ R11, %s", left)
	f.p("	JGE block // below zero it was the last")
	f.p("\ndone:")
	f.p("	%s // TILERELEASE", releaseTiles())
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// fetchC asks for the lines of the result while the products are summed.
func fetchC(f *file, m int) {
	f.p("	MOVQ R12, AX")
	for range m * tileRows {
		f.p("	PREFETCHT0 (AX)")
		f.p("	ADDQ R13, AX")
	}
}

// sumTiles sums the products of m by n tiles and leaves the sums in memory. It
// uses R10, R12 and R13.
func sumTiles(f *file, label, a string, m, n int, last bool) {
	for i := range m {
		for j := range n {
			f.p("	%s // TILEZERO TMM%d", zeroTile(sumTile(i, j)), sumTile(i, j))
		}
	}
	f.p("	MOVQ tile_runs(DI), DX")
	f.p("	MOVQ tile_runs+8(DI), R11")
	f.p("	TESTQ R11, R11")
	f.p("	JZ %ssummed", label)
	f.p("	CMPQ tile_chunks(DI), $0")
	f.p("	JE %ssummed", label)
	f.p("	LEAQ (R8)(R8*2), R13")
	f.p("%snext:", label)
	rows := []string{"AX", "BX", "R10"}[:m]
	f.p("	MOVQ run_a(DX), AX")
	f.p("	SHLQ $2, AX")
	f.p("	ADDQ %s, AX", a)
	if m > 1 {
		f.p("	MOVQ R8, BX")
		f.p("	SHLQ $4, BX")
		if m > 2 {
			f.p("	LEAQ (AX)(BX*2), R10")
		}
		f.p("	ADDQ AX, BX")
	}
	f.p("	MOVQ run_b(DX), SI")
	f.p("	SHLQ $2, SI")
	f.p("	ADDQ tile_b(DI), SI")
	f.p("	MOVQ tile_chunks(DI), CX")
	f.p("	JMP %sfirst", label)
	f.p("\n	PCALIGN $32")
	f.p("%sloop:", label)
	for _, r := range rows {
		f.p("	ADDQ $%d, %s", tileSize, r)
	}
	f.p("	ADDQ R14, SI")
	f.p("%sfirst:", label)
	f.p("	LEAQ %d(AX), R12", tileSize)
	f.p("	CMPQ CX, $1")
	f.p("	JNE %swhole", label)
	for _, r := range rows {
		f.p("	ADDQ tile_back(DI), %s", r)
	}
	f.p("	CMPQ R11, $1")
	f.p("	JE %swhole", label)
	f.p("	MOVQ (run__size+run_a)(DX), R12")
	f.p("	SHLQ $2, R12")
	f.p("	ADDQ %s, R12", a)
	f.p("%swhole:", label)

	// What the next products take is fetched meanwhile: of a from R12 on, and the
	// next rows of b, where a following run begins too.
	var fetch []string
	for range m * tileRows / 4 {
		fetch = append(fetch, "PREFETCHT0 (R12)", "PREFETCHT0 (R12)(R8*1)", "PREFETCHT0 (R12)(R8*2)", "PREFETCHT0 (R12)(R13*1); LEAQ (R12)(R8*4), R12")
	}
	for line := 0; line < 2*tileRows; line += 3 - n {
		fetch = append(fetch, fmt.Sprintf("PREFETCHT0 %d(SI)", tileRows*panelRow+tileSize*line))
	}
	var steps []string
	// Along one row of sums, back along the next.
	column := -1 // in bTile
	for i, r := range rows {
		at := aTile
		if last && i > 0 {
			at = lastTile
		}
		steps = append(steps, fmt.Sprintf("%s // TILELOADD (%s)(R8*1), TMM%d", loadTile(at, r, "R8", 0), r, at))
		for k := range n {
			j := k
			if i%2 == 1 {
				j = n - 1 - k
			}
			if j != column {
				steps = append(steps, fmt.Sprintf("%s // TILELOADD %d(SI)(R9*1), TMM%d", loadTile(bTile, "SI", "R9", tileSize*j), tileSize*j, bTile))
				column = j
			}
			steps = append(steps, fmt.Sprintf("%s // TDPBF16PS TMM%d, TMM%d, TMM%d", dotTile(sumTile(i, j), at, bTile), bTile, at, sumTile(i, j)))
		}
	}
	for i, step := range steps {
		f.p("	%s", step)
		for _, line := range fetch[len(fetch)*i/len(steps) : len(fetch)*(i+1)/len(steps)] {
			f.p("	%s", line)
		}
	}
	f.p("	DECQ CX")
	f.p("	JNZ %sloop", label)
	f.p("	ADDQ $run__size, DX")
	f.p("	DECQ R11")
	f.p("	JNZ %snext", label)
	f.p("%ssummed:", label)
	f.p("	MOVQ $%d, AX", sumsRow)
	for i := range m {
		for j := range n {
			disp := i*tileRows*sumsRow + tileSize*j
			f.p("	%s // TILESTORED TMM%d, %d(R15)(AX*1)", storeTile(sumTile(i, j), "R15", "AX", disp), sumTile(i, j), disp)
		}
	}
}

// writeSums emits the loop over CX rows of sums at SI, DX of a line being done;
// store writes one row. It uses AX.
func writeSums(f *file, label string, n int, whole bool, next, after, pitch string, store func()) {
	f.p("%s:", label)
	f.p("	MOVQ tile_line(DI), AX")
	f.p("	SUBQ DX, AX")
	f.p("	JLE %sdropped", label)
	take := func() { // AX of the rows, as far as there are
		f.p("	CMPQ AX, CX")
		f.p("	CMOVQGT CX, AX")
		f.p("	SUBQ AX, CX")
		f.p("	ADDQ AX, DX")
	}
	take()
	f.p("\n	PCALIGN $32")
	f.p("%snext:", label)
	for j := range n {
		f.p("	VMOVUPS %d(SI), Z%d", tileSize*j, j)
	}
	if whole {
		for j := range n - 1 {
			f.p("	VADDPS %d(R10), Z%d, Z%d", tileSize*j, j, j)
		}
		f.p("	VMOVUPS.Z %d(R10), K1, Z2", tileSize*(n-1))
		f.p("	VADDPS Z2, Z%d, Z%d", n-1, n-1)
		// The operand that a NaN must survive from stands first.
		for j := range n {
			f.p("	VMAXPS Z%d, Z30, Z%d", j, j)
			f.p("	VMINPS Z%d, Z31, Z%d", j, j)
		}
	}
	store()
	f.p("	ADDQ BX, R10")
	f.p("	ADDQ R13, R12")
	f.p("	ADDQ $%d, SI", sumsRow)
	f.p("	DECQ AX")
	f.p("	JNZ %snext", label)
	f.p("	CMPQ DX, tile_line(DI)")
	f.p("	JLT %send", label)
	f.p("%sdropped:", label)
	f.p("	MOVQ %s, AX", pitch)
	f.p("	SUBQ DX, AX")
	take()
	f.p("	IMUL3Q $%d, AX, AX", sumsRow)
	f.p("	ADDQ AX, SI")
	f.p("	CMPQ DX, %s", pitch)
	f.p("	JLT %send", label)
	f.p("	XORQ DX, DX")
	f.p("	ADDQ %s, R12", next)
	f.p("	ADDQ %s, R10", after)
	f.p("	TESTQ CX, CX")
	f.p("	JNZ %s", label)
	f.p("%send:", label)
}
