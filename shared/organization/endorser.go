package organization

import "peerless/shared/msp"

// An Endorser is who signs an organisation's endorsements: whose certificate counts for policies, and where its key is.
type Endorser struct {
	*msp.Identity // in the role of a peer; no MSP has verified it

	// Signer has the key. Nil: it is elsewhere, in a process of the organisation's own.
	Signer *msp.Signer

	// Address of that process, host:port; empty if the key is here.
	Address string
}

// Local reports whether the platform holds the endorser's key.
func (e *Endorser) Local() bool { return e.Signer != nil }
