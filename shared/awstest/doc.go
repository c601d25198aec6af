// Package awstest gives tests doubles of AWS on loopback: real programs where there are any that behave as AWS does, and what stands
// between them in Lambda.
package awstest
