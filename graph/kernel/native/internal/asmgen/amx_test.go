package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestEncodings compares instructions with what GNU as and objdump 2.40 make of
// them.
func TestEncodings(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"TDPBF16PS", dotTile(0, 4, 6), "c4 e2 4a 5c c4"},
		{"TDPBF16PS of others", dotTile(3, 5, 7), "c4 e2 42 5c dd"},
		{"TILEZERO", zeroTile(2), "c4 e2 7b 49 d0"},
		{"TILERELEASE", releaseTiles(), "c4 e2 78 49 c0"},
		{"LDTILECFG", configureTiles("AX"), "c4 e2 78 49 84 20 00 00 00 00"},
		{"LDTILECFG above", configureTiles("R13"), "c4 c2 78 49 84 25 00 00 00 00"},
		{"TILELOADD", loadTile(4, "AX", "R8", 0), "c4 a2 7b 4b a4 00 00 00 00 00"},
		{"TILELOADD further", loadTile(7, "SI", "R9", 64), "c4 a2 7b 4b bc 0e 40 00 00 00"},
		{"TILESTORED", storeTile(3, "R15", "AX", 2112), "c4 c2 7a 4b 9c 07 40 08 00 00"},
		{"TILESTORED before", storeTile(1, "R12", "R13", -64), "c4 82 7a 4b 8c 2c c0 ff ff ff"},
		{"VCVTNE2PS2BF16", narrowTwo(30, 3, 17), "62 62 77 40 72 f3"},
	} {
		var want []string
		for _, b := range strings.Fields(c.want) {
			want = append(want, fmt.Sprintf("BYTE $0x%s", b))
		}
		if c.got != strings.Join(want, "; ") {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}
