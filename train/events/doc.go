// Package events writes a run's figures and pictures as TensorBoard reads them:
// files named events.out.tfevents.* of framed protocol buffers.
//
// A frame (TFRecord) is the length of its content, the masked CRC-32C of that
// length, the content, and the masked CRC-32C of the content. A content is an
// Event: a time, a step, and a summary of tagged values. Files begin with an
// Event that names the version of the format.
//
// Steps count iterations done. The scalars are those of the history, and a
// folder that a run goes on with is made to hold each of the history's steps
// once.
package events
