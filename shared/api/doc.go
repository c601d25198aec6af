// Package api is the HTTP entrance of Peerless: the routes under /v1, authentication, one error map, and the OpenAPI
// document that describes them.
//
// A request passes one adapter (handle): find the principal, check what it may do, decode, call, encode. Every failure,
// whatever its origin, leaves through problemOf as application/problem+json (RFC 9457) with a stable upper-case code.
// Bodies are read by a strict JSON reader: unknown and repeated fields, wrong types, invalid UTF-8 and trailing data are
// errors that name the field.
//
// The package holds no ledger and runs no contract. It calls the interfaces in backend.go, which the gateway and the
// deployer satisfy. It adds no CORS headers: pages of other origins cannot read answers.
package api
