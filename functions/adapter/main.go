// Command adapter is the bootstrap of a contract's function in its wrapped form: it runs the chaincode program that the function's
// Handler names, unmodified. It lies beside the program in the function's package, or in a layer.
package main

import (
	"log"

	"peerless/shared/adapter"
)

func main() {
	log.Fatal(adapter.StartProgram())
}
