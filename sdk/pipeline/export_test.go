package pipeline

// UserFrames lets tests outside the package, whose frames count as a user's,
// see the trace of a panic.
var UserFrames = userFrames
