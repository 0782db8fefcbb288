package export

import (
	"strings"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// DeployKey is the metadata key under which a deployed file carries its
// Deployment, as JSON.
const DeployKey = "graft.deploy"

// deployedKeys are the keys of graft's own that stay in a deployed file.
var deployedKeys = map[string]bool{
	onnx.ClassesKey: true, onnx.MeanKey: true, onnx.StdKey: true, onnx.EncoderKey: true, onnx.DecoderKey: true,
}

// metadataPrefix begins the keys of graft's own metadata. Those that are not
// of a deployed file are state of training.
const metadataPrefix = "graft."

// Deployment records how a file was exported.
type Deployment struct {
	Source   string    `json:"source"` // output of the training graph
	Head     Head      `json:"head"`
	Upsample bool      `json:"upsample"` // the output has the input's size
	Layout   Layout    `json:"layout,omitempty"`
	Labels   LabelType `json:"labels,omitempty"` // of the ArgMax head
	FoldedBN int       `json:"folded_bn"`        // BatchNormalizations folded
}

// ReadDeployment returns how a model was exported, and false where it was not
// exported by Inference.
func ReadDeployment(m *onnx.Model) (Deployment, bool, error) {
	var d Deployment
	found, err := m.MetadataJSON(DeployKey, &d)
	return d, found, err
}

// stripTraining removes what only training needs: optimizer state, and graft's
// metadata that is not of a deployed file. Other tools' metadata stays.
func stripTraining(m *onnx.Model) {
	m.TrainingInfo = nil
	m.MetadataProps = deployed(m.MetadataProps)
	m.Graph.MetadataProps = deployed(m.Graph.MetadataProps)
}

func deployed(props []*pb.StringStringEntryProto) []*pb.StringStringEntryProto {
	var kept []*pb.StringStringEntryProto
	for _, p := range props {
		if key := p.GetKey(); deployedKeys[key] || !strings.HasPrefix(key, metadataPrefix) {
			kept = append(kept, p)
		}
	}
	return kept
}
