// Package onednn runs convolutions and matrix products on oneDNN, which is
// loaded when the program runs; everything else runs on the native kernels.
//
// # Loading
//
// Nothing of oneDNN is needed to build this package: the library is opened by
// name (libdnnl.so.3, libdnnl.so.2, ...), through
// github.com/ebitengine/purego, without cgo. GRAFT_ONEDNN names another file,
// or is "off" to do without. The two generations of the library differ in
// their binary interface (2.x passes descriptions as structs, 3.x as
// handles), so each has its own file: abi2.go and abi3.go. Which one applies
// is asked of the library itself (dnnl_version).
//
// # From description to calls
//
// Device.Compile turns a kernel.Desc into a program: a few oneDNN primitives,
// their memory objects, and the scratch memory they want. The activations
// stay channels-last, as package kernel stores them. A filter may be moved
// into the layout that oneDNN likes best, in scratch memory, at every run,
// since a filter in training is never the same twice. Descriptions that oneDNN
// refuses, or would run on its slow reference code, go to the native device.
//
// # Threads
//
// oneDNN's pool of OpenMP threads belongs to the OS thread that calls it. One
// goroutine, locked to its OS thread, therefore makes every call; Device.Do
// brings a function there.
//
// The build tag "static" leaves the loader out, for programs that must not
// depend on a dynamic linker; New then says that oneDNN is not available.
package onednn
