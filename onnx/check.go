package onnx

// Check looks for everything that keeps a model from meaning what its author
// meant, and returns all findings at once as a *CheckError.
func Check(m *Model) error {
	c := &checker{model: m}
	if err := checkTensors(m); err != nil {
		return err
	}
	if len(c.findings) == 0 {
		return nil
	}
	return &CheckError{File: m.Path, Findings: c.findings}
}

type checker struct {
	model    *Model
	findings []*Error
}
