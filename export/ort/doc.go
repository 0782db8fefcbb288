// Package ort runs ONNX files with ONNX Runtime, loaded when the program runs.
//
// Nothing is linked: the shared library is opened through purego and reached
// through the table of functions that OrtGetApiBase hands out, so the package
// builds without a C compiler and a program without the library only loses
// what needs it.
//
//	rt, err := ort.Open("")                       // GRAFT_ONNXRUNTIME, then the usual names
//	s, err := rt.Session("model.onnx", ort.Options{Optimize: true})
//	defer s.Close()
//	out, err := s.Run(map[string]ort.Tensor{
//		"image": ort.New(pixels, 1, 3, 480, 640), // (N,3,H,W)
//	})
//	probs := out["probability"].Data.([]float32)
//
// A Tensor is a shape and a Go slice in row-major order. Inputs are read in
// place and outputs copied once, or not at all with Session.RunInto.
//
// Facts about the interface (the order of its functions, their arguments, the
// values of its enumerations) are those of the public header
// onnxruntime_c_api.h; the table only ever grows at its end, so one list of
// positions serves every version.
package ort
