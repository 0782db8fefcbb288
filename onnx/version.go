package onnx

// The versions that Check accepts: operator sets of ai.onnx and of the
// intermediate representation. Files outside may mean other things by the same
// names. Of operator sets before 7 only those operators are read that mean the
// same in 7.
const (
	MinOpset, MaxOpset = 1, 26
	MinIR, MaxIR       = 3, 13
)

// The IR version from which initializers need not be graph inputs, from which
// models may hold functions, and from which functions may be overloaded.
const (
	irFreeInitializers = 4
	irFunctions        = 8
	irOverloads        = 10
)

// IRVersion returns the lowest IR version that the model can declare: the one
// released with its operator set (the standard's table of versions), at least
// 4 so that initializers need not be inputs, 8 with functions.
func IRVersion(m *Model) int64 {
	ir := int64(irFreeInitializers)
	for _, release := range []struct{ opset, ir int64 }{
		{10, 5}, {11, 6}, {12, 7}, {15, 8}, {19, 9}, {21, 10}, {23, 11}, {24, 12}, {26, 13},
	} {
		if m.Opset("") >= release.opset {
			ir = release.ir
		}
	}
	if len(m.GetFunctions()) > 0 && ir < irFunctions {
		ir = irFunctions
	}
	for _, f := range m.GetFunctions() {
		if f.GetOverload() != "" && ir < irOverloads {
			ir = irOverloads
		}
	}
	return ir
}
