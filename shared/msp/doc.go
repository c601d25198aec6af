// Package msp says who somebody is: identities of X.509 certificates under membership service providers (MSPs), their
// roles and signatures, as Hyperledger Fabric's msp package does at MSP version 1.4.3 and later.
//
// An MSP verifies the certificates of one organisation; a Manager those of a channel. A Signer holds a private key. A CA
// issues certificates for an organisation whose keys we hold. Verdicts depend on the MSP's configuration alone, never on
// the clock: like Fabric, a certificate is verified as of the second after it begins to be valid, so a transaction stays
// valid when its creator's certificate expires. Whoever accepts new requests compares Identity.Cert.NotAfter with the
// time first.
//
// Left out: Idemix, SHA-3, TLS roots, keys in hardware.
package msp
