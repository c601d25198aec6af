// Package cost turns what a call uses of AWS into money. Prices are in prices.json, which names their date and region; what a call uses is
// measured by `peerless bench cost`.
package cost

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:embed prices.json
var prices []byte

// Prices are AWS's list prices, in dollars.
type Prices struct {
	Date     string `json:"date"`   // when they were looked up
	Region   string `json:"region"` // where they hold
	Currency string `json:"currency"`
	Source   string `json:"source"`
	DynamoDB struct {
		MillionWriteUnits float64 `json:"millionWriteRequestUnits"`
		MillionReadUnits  float64 `json:"millionReadRequestUnits"`
		StoredGBMonth     float64 `json:"storedGBMonth"`
		RecoveryGBMonth   float64 `json:"pointInTimeRecoveryGBMonth"`
	} `json:"dynamodb"`
	Lambda struct {
		MillionRequests float64 `json:"millionRequests"`
		ARM64GBSecond   float64 `json:"arm64GBSecond"`
		X86GBSecond     float64 `json:"x86GBSecond"`
	} `json:"lambda"`
	HTTPAPI struct {
		MillionRequests float64 `json:"millionRequests"`
		RequestBytes    int     `json:"requestBytes"` // what more than this brings or gets counts as one request more
	} `json:"httpAPI"`
	SQS struct {
		MillionStandard float64 `json:"millionStandardRequests"`
		MillionFIFO     float64 `json:"millionFIFORequests"`
	} `json:"sqs"`
	KMS struct {
		KeyMonth            float64 `json:"keyMonth"`
		TenThousandRequests float64 `json:"tenThousandRequests"`
	} `json:"kms"`
	CloudWatch struct {
		IngestedGB float64 `json:"ingestedGB"`
	} `json:"cloudwatch"`
	ManagedFabric struct {
		MemberHour   float64 `json:"starterMemberHour"`
		PeerHour     float64 `json:"smallestPeerHour"`
		HoursInMonth float64 `json:"hoursInMonth"`
	} `json:"managedFabric"`
}

// List returns the prices.
func List() (*Prices, error) {
	p := &Prices{}
	if err := json.Unmarshal(prices, p); err != nil {
		return nil, fmt.Errorf("read the prices: %w", err)
	}
	return p, nil
}

// Usage is what one call uses, on average.
type Usage struct {
	WriteUnits  float64 `json:"writeUnits"`  // of DynamoDB, on demand
	ReadUnits   float64 `json:"readUnits"`   // of DynamoDB, on demand
	Invocations float64 `json:"invocations"` // of Lambda functions
	GBSeconds   float64 `json:"gbSeconds"`   // of Lambda functions, ARM64
	Requests    float64 `json:"requests"`    // of the HTTP API
	LogBytes    float64 `json:"logBytes"`    // that functions write to CloudWatch
	StoredBytes float64 `json:"storedBytes"` // that stay in tables
}

// Bill is what a million calls cost, in dollars. Stored is what keeping what they wrote costs each month from then on, in the table and its
// continuous backup; it is not in Total.
type Bill struct {
	DynamoDB float64 `json:"dynamodb"`
	Lambda   float64 `json:"lambda"`
	HTTPAPI  float64 `json:"httpAPI"`
	Logs     float64 `json:"logs"`
	Total    float64 `json:"total"`
	Stored   float64 `json:"storedMonthly"`
}

const (
	million  = 1e6
	gigabyte = 1 << 30
)

// Million returns the bill for a million calls.
func (p *Prices) Million(u Usage) Bill {
	b := Bill{
		DynamoDB: u.WriteUnits*p.DynamoDB.MillionWriteUnits + u.ReadUnits*p.DynamoDB.MillionReadUnits,
		Lambda:   u.Invocations*p.Lambda.MillionRequests + u.GBSeconds*million*p.Lambda.ARM64GBSecond,
		HTTPAPI:  u.Requests * p.HTTPAPI.MillionRequests,
		Logs:     u.LogBytes * million / gigabyte * p.CloudWatch.IngestedGB,
		Stored:   u.StoredBytes * million / gigabyte * (p.DynamoDB.StoredGBMonth + p.DynamoDB.RecoveryGBMonth),
	}
	b.Total = b.DynamoDB + b.Lambda + b.HTTPAPI + b.Logs
	return b
}

// FabricMonth is what a smallest managed Fabric network costs in a month in which nobody uses it: one member and one peer.
func (p *Prices) FabricMonth() float64 {
	f := p.ManagedFabric
	return (f.MemberHour + f.PeerHour) * f.HoursInMonth
}
