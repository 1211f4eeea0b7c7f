// Package wire is both ends of the plugin API in plain Go: the constants of the
// handshake, conversions between Go types and protobuf in each direction, and
// typed clients. The host and sdk/plugin use it; it makes no promise of
// stability to anybody else. Everything that arrives from the other side is
// treated as untrusted: lengths, counts, sizes and keys are checked here.
package wire
