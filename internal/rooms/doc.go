// Package rooms holds the test that keeps the packages of graft apart: which
// folder may import which, and which libraries stay in which folder.
//
// The format (onnx) knows nothing of what is done with it; networks (models),
// their execution (graph) and deployment (export) each know the format alone;
// training joins them; the commands use all of it and nothing uses them.
package rooms
