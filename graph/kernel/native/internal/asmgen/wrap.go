package main

import (
	"fmt"
	"strings"
)

// wrappers emits, for every element-by-element kernel, the Go function on
// slices that package native calls.
func wrappers(f *file, v vectors) {
	for _, k := range mapKernels {
		if !k.of(v) {
			continue
		}
		name := "vec" + strings.TrimPrefix(k.name, "map") + v.name
		typed := make([]string, len(k.ptrs))
		for i, p := range k.ptrs {
			typed[i] = p + " []" + k.element(v, p)
		}
		params := strings.Join(typed, ", ")
		if len(k.scalars) > 0 {
			params += ", " + strings.Join(k.scalars, ", ") + " float32"
		}
		d := &f.decl
		first, row := k.ptrs[0], ""
		fmt.Fprintf(d, "\nfunc %s(%s) {\n\tif len(%s) == 0 {\n\t\treturn\n\t}\n", name, params, first)
		var cut, cuts []string
		for _, p := range k.ptrs[1:] {
			length := first
			switch {
			case !k.row(p):
			case row == "":
				row = p
				continue
			default:
				length = row
			}
			cut, cuts = append(cut, p), append(cuts, fmt.Sprintf("%s[:len(%s)]", p, length))
		}
		fmt.Fprintf(d, "\t%s = %s\n", strings.Join(cut, ", "), strings.Join(cuts, ", "))
		args := make([]string, 0, len(k.ptrs)+len(k.scalars)+2)
		for _, p := range k.ptrs {
			args = append(args, "&"+p+"[0]")
		}
		if args = append(args, "len("+first+")"); row != "" {
			args = append(args, "len("+row+")")
		}
		args = append(args, k.scalars...)
		fmt.Fprintf(d, "\t%s%s(%s)\n}\n", k.name, v.name, strings.Join(args, ", "))
	}
}
