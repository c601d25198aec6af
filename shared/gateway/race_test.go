//go:build race

package gateway_test

// raceDetector says that the tests run several times slower than they would.
const raceDetector = true
