// Package archtest holds the rules of who may import whom, and the test that
// keeps them.
package archtest
