// Package export turns a trained network into a file for deployment, and
// proves that the file does what training saw.
//
// A training graph ends in log-probabilities at the stride of its features,
// once more for deep supervision, and carries dropout, batch statistics and
// the state of its optimizer. Inference cuts all that away:
//
//	image (N,3,H,W) -> network, BatchNormalization folded -> logits (N,C,h,w)
//	  -> Resize to H,W -> Softmax -> probability (N,C,H,W)
//	                   -> ArgMax  -> label (N,H,W)
//
// The result is ordinary ONNX without model-local functions (unless asked
// otherwise: TensorRT, OpenVINO and the runtimes of browsers do not all read
// those), dynamic in N, H and W, with the classes and the normalisation of its
// input in the metadata.
//
//	m, err := onnx.Load("checkpoint.onnx")
//	opts := export.DefaultOptions()
//	opts.Head = export.ArgMax
//	deploy, err := export.Inference(m, opts)
//	err = deploy.Save("deploy.onnx")
//	report, err := export.Verify("deploy.onnx", evaluator, export.VerifyOptions{})
//
// Verify runs the file in ONNX Runtime beside graft's own evaluation of the
// training graph and compares the two. Inspect describes any model.
package export
