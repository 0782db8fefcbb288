package ort

// The positions in the table of functions (struct OrtApi) of those used here.
// The first 102 have been the same since version 1 of the interface.
const (
	slotGetErrorCode                   = 1
	slotGetErrorMessage                = 2
	slotCreateEnv                      = 3
	slotDisableTelemetryEvents         = 6
	slotCreateSession                  = 7
	slotCreateSessionFromArray         = 8
	slotRun                            = 9
	slotCreateSessionOptions           = 10
	slotSetGraphOptimizationLevel      = 23
	slotSetIntraOpNumThreads           = 24
	slotSessionGetInputCount           = 30
	slotSessionGetOutputCount          = 31
	slotSessionGetInputTypeInfo        = 33
	slotSessionGetOutputTypeInfo       = 34
	slotSessionGetInputName            = 36
	slotSessionGetOutputName           = 37
	slotCreateTensorWithDataAsValue    = 49
	slotGetTensorMutableData           = 51
	slotCastTypeInfoToTensorInfo       = 55
	slotGetTensorElementType           = 60
	slotGetDimensionsCount             = 61
	slotGetDimensions                  = 62
	slotGetSymbolicDimensions          = 63
	slotGetTensorTypeAndShape          = 65
	slotGetValueType                   = 67
	slotCreateCPUMemoryInfo            = 69
	slotAllocatorFree                  = 76
	slotGetAllocatorWithDefaultOptions = 78
	slotReleaseStatus                  = 93
	slotReleaseSession                 = 95
	slotReleaseValue                   = 96
	slotReleaseTypeInfo                = 98
	slotReleaseTensorTypeAndShapeInfo  = 99
	slotReleaseSessionOptions          = 100
	slotAddSessionConfigEntry          = 130
	slotCount                          = 131
)

// Values of the interface's enumerations.
const (
	// apiVersion is the version asked for: ONNX Runtime 1.11, the first whose
	// model-local functions and opset 15 have had a release to settle.
	apiVersion = 11

	logFatal        = 4 // errors come back as a status; nothing goes to stderr
	optimizeNothing = 0
	optimizeAll     = 99
	arenaAllocator  = 1
	memoryDefault   = 0
	onnxTypeTensor  = 1
)
