package onnx

import (
	_ "embed"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/graft-onnx/graft/onnx/pb"
)

// signatureTable says what nodes of ai.onnx look like; its head explains it.
//
//go:embed signatures.txt
var signatureTable string

// lastSignature is the newest operator set that the table covers: later ones
// may admit more.
const lastSignature = 23

// nodeSignature is what an operator's nodes look like from one version on.
type nodeSignature struct {
	since           int64
	gone            bool // removed from the operator set
	inputs, outputs [2]int
	attributes      map[string]attributeKind
}

type attributeKind struct {
	typ      pb.AttributeProto_AttributeType
	required bool
}

// signatures is the table by operator, versions ascending.
var signatures = sync.OnceValue(func() map[string][]nodeSignature {
	table, err := parseSignatures(signatureTable)
	if err != nil {
		panic(err) // the table is part of the program, a test reads it
	}
	return table
})

var attributeLetters = map[string]pb.AttributeProto_AttributeType{
	"i": pb.AttributeProto_INT, "I": pb.AttributeProto_INTS,
	"f": pb.AttributeProto_FLOAT, "F": pb.AttributeProto_FLOATS,
	"s": pb.AttributeProto_STRING, "S": pb.AttributeProto_STRINGS,
	"t": pb.AttributeProto_TENSOR, "T": pb.AttributeProto_TENSORS,
	"g": pb.AttributeProto_GRAPH, "G": pb.AttributeProto_GRAPHS,
	"p": pb.AttributeProto_SPARSE_TENSOR, "y": pb.AttributeProto_TYPE_PROTO,
}

func parseSignatures(table string) (map[string][]nodeSignature, error) {
	out := map[string][]nodeSignature{}
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		op, rest, _ := strings.Cut(line, " ")
		for version := range strings.SplitSeq(rest, " | ") {
			s, err := parseSignature(version)
			if err != nil {
				return nil, fmt.Errorf("signature of %s: %w", op, err)
			}
			if had := out[op]; len(had) > 0 && had[len(had)-1].since >= s.since {
				return nil, fmt.Errorf("signature of %s: version %d out of order", op, s.since)
			}
			out[op] = append(out[op], s)
		}
	}
	return out, nil
}

func parseSignature(text string) (s nodeSignature, err error) {
	since, rest, _ := strings.Cut(text, ": ")
	if s.since, err = strconv.ParseInt(since, 10, 64); err != nil {
		return s, err
	}
	parts := strings.Fields(rest)
	if len(parts) == 1 && parts[0] == "x" {
		s.gone = true
		return s, nil
	}
	if len(parts) < 2 {
		return s, fmt.Errorf("%q lacks inputs and outputs", text)
	}
	if s.inputs, err = parseRange(parts[0]); err != nil {
		return s, err
	}
	if s.outputs, err = parseRange(parts[1]); err != nil {
		return s, err
	}
	s.attributes = map[string]attributeKind{}
	for _, a := range parts[2:] {
		name, letter, _ := strings.Cut(a, ":")
		letter, required := strings.CutSuffix(letter, "!")
		typ, ok := attributeLetters[letter]
		if !ok {
			return s, fmt.Errorf("attribute %q has no known type", a)
		}
		s.attributes[name] = attributeKind{typ, required}
	}
	return s, nil
}

// parseRange reads "2", "2-3" or "1-".
func parseRange(text string) (r [2]int, err error) {
	from, to, ranged := strings.Cut(text, "-")
	if r[0], err = strconv.Atoi(from); err != nil {
		return r, err
	}
	switch {
	case !ranged:
		r[1] = r[0]
	case to == "":
		r[1] = math.MaxInt
	default:
		r[1], err = strconv.Atoi(to)
	}
	return r, err
}

// signatureOf returns the signature in force in an operator set; known tells
// whether the table has the operator at all.
func signatureOf(op string, opset int64) (s *nodeSignature, known bool) {
	versions := signatures()[op]
	for i := range versions {
		if versions[i].since <= opset {
			s = &versions[i]
		}
	}
	return s, len(versions) > 0
}

// signature compares a node of ai.onnx with the table. Operators that the
// table does not have pass.
func (c *checker) signature(n *pb.NodeProto, p place, opset int64) {
	s, known := signatureOf(n.GetOpType(), opset)
	switch {
	case !known:
		return
	case s == nil:
		c.addf(p, n, "in operator set ai.onnx version %d the operator is missing or of a form before version %d, the oldest that is read",
			opset, signatures()[n.GetOpType()][0].since)
		return
	case s.gone:
		c.addf(p, n, "operator set ai.onnx version %d does not have this operator any more", opset)
		return
	}
	newer := opset > lastSignature
	if got, want := len(n.GetInput()), s.inputs; got < required(n, want[0]) || got > want[1] && !newer {
		c.addf(p, n, "%d inputs, the operator takes %s", got, rangeString(want))
	} else {
		for i := range required(n, want[0]) {
			if n.GetInput()[i] == "" {
				c.addf(p, n, "input %d cannot be left out", i)
			}
		}
	}
	if got, want := len(n.GetOutput()), s.outputs; got < want[0] || got > want[1] && !newer {
		c.addf(p, n, "%d outputs, the operator has %s", got, rangeString(want))
	}
	for _, a := range n.GetAttribute() {
		kind, known := s.attributes[a.GetName()]
		switch {
		case !known && a.GetName() != "" && !newer:
			c.addf(p, n, "operator set ai.onnx version %d does not have attribute %q", opset, a.GetName())
		case known && a.GetType() != kind.typ:
			c.addf(p, n, "attribute %q is declared %s, the operator takes %s", a.GetName(), a.GetType(), kind.typ)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.attributes)) {
		if s.attributes[name].required && Attr(n, name) == nil {
			c.addf(p, n, "attribute %q is missing", name)
		}
	}
}

// required is how many leading inputs a node cannot leave out, fewer than the
// table's minimum where an empty name may stand among them.
func required(n *pb.NodeProto, least int) int {
	switch n.GetOpType() {
	case "Loop", "Scan": // trip count and condition, sequence lengths may be empty
		return 0
	case "Resize": // the region is read in one mode only, and often left out
		return min(least, 1)
	}
	return least
}

func rangeString(r [2]int) string {
	switch {
	case r[0] == r[1]:
		return strconv.Itoa(r[0])
	case r[1] == math.MaxInt:
		return fmt.Sprintf("at least %d", r[0])
	}
	return fmt.Sprintf("%d to %d", r[0], r[1])
}
