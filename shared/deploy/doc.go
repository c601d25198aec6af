// Package deploy knows chaincode packages, and where each is installed.
//
// A package is Fabric's: a gzipped tar of metadata.json and code.tar.gz, known by its label and the SHA-256 of its bytes.
// Its type says what the code is: golang (source, built here with the Go toolchain), ccaas (the address of a service that
// runs elsewhere), or binary, which is ours (a program built before). Packages come from outside and are read as such:
// what does not fit the format exactly, or unpacks to too much, is refused with ErrInvalidPackage or ErrPackageTooLarge
// before anything of it is written.
//
// A Manager keeps the packages of one server and binds them to channels. It runs one host for each package, however many
// bindings it has, and replaces one without interrupting what runs.
//
// Left out: Node and Java source. Such a contract runs as a service, or as a program that its own tools have built.
package deploy
