// Package train trains a segmentation network as a configuration says, inside
// a run folder.
//
// Run is all of it: pictures become batches (train/data), a Trainer steps a
// graph.Network and an Optimizer through them, a history grows
// (train/history), checkpoints are written, the validation set is evaluated
// (Predictor, train/metric) and a report ends it (train/report). A checkpoint
// is one ONNX file: the graph with its weights, the optimizer's state in
// training_info, the rest in metadata. Nothing in it depends on the clock, so
// a run that was stopped and resumed ends in the same bytes as one that was
// not.
package train
