package graph

import "errors"

// Errors of this package, for errors.Is.
var (
	// ErrNoGradient marks an operator on the way to a parameter that has no
	// derivative.
	ErrNoGradient = errors.New("not differentiable")
	// ErrShape marks data that does not fit the shape a Plan was built for.
	ErrShape = errors.New("shape mismatch")
	// ErrMemory marks a Plan that the machine has no memory for.
	ErrMemory = errors.New("not enough memory")
	// ErrLoss marks a run that stopped because its loss is not a number.
	ErrLoss = errors.New("the loss is not a number")
)
