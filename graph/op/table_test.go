package op_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/graph/op"
)

// nodeResult is what became of one node test.
type nodeResult struct {
	name, op string
	reason   string // why it is not supported
	failed   bool
}

func (r nodeResult) passed() bool { return r.reason == "" && !r.failed }

// count adds results up.
type count struct{ passed, unsupported, failed int }

func (c *count) add(r nodeResult) {
	switch {
	case r.failed:
		c.failed++
	case r.reason != "":
		c.unsupported++
	default:
		c.passed++
	}
}

// writeTable writes the results as Markdown: one row for each operator that
// graft builds, then every test of those that is not supported, then the
// operators that graft does not build.
func writeTable(path string, results []nodeResult) error {
	byOp := map[string]*count{}
	reasons := map[string]map[string][]string{}
	var total, built count
	for _, r := range results {
		total.add(r)
		if byOp[r.op] == nil {
			byOp[r.op] = &count{}
			reasons[r.op] = map[string][]string{}
		}
		byOp[r.op].add(r)
		if r.reason != "" {
			reasons[r.op][r.reason] = append(reasons[r.op][r.reason], strings.TrimPrefix(r.name, "test_"))
		}
	}
	var b strings.Builder
	var rest []string
	rows := &strings.Builder{}
	for _, name := range slices.Sorted(maps.Keys(byOp)) {
		c := byOp[name]
		own, _, _ := strings.Cut(name, " ")
		if _, ok := op.Lookup("", own); !ok && c.passed == 0 && c.failed == 0 {
			if own == name && name != "" {
				rest = append(rest, fmt.Sprintf("%s (%d)", name, c.unsupported))
			}
			continue
		}
		built.passed += c.passed
		built.unsupported += c.unsupported
		built.failed += c.failed
		var why []string
		for _, reason := range slices.Sorted(maps.Keys(reasons[name])) {
			why = append(why, fmt.Sprintf("%s: %s", reason, strings.Join(reasons[name][reason], ", ")))
		}
		fmt.Fprintf(rows, "| %s | %d | %d | %d | %s |\n", name, c.passed, c.unsupported, c.failed, strings.Join(why, "; "))
	}
	fmt.Fprintf(&b, `# Node tests of the ONNX standard

Every test of the standard's node suite runs through a Plan (onnx.Specialize,
skeleton, builders, kernels) on every kernel set; results may differ by 1e-5 of
the value and 2e-6. Graphs are computed in float32, so tests of other element
types are not supported. A function body is an operator that the standard
defines by others, expanded.
Regenerate this file with

    go test ./graph/op -run Nodes -args -table ../../docs/node-tests.md

| tests | passed | not supported | failed |
|---|---:|---:|---:|
| of operators that graft builds | %d | %d | %d |
| all %d | %d | %d | %d |

## Operators that graft builds

| operator | passed | not supported | failed | why not supported |
|---|---:|---:|---:|---|
%s
## Operators that graft does not build

With the number of their tests: %s.
`, built.passed, built.unsupported, built.failed, len(results), total.passed, total.unsupported, total.failed, rows, strings.Join(rest, ", "))
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
