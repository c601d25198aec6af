package deploy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// A Connection says how to reach chaincode as a service: the connection.json of a ccaas package.
type Connection struct {
	// Address is host:port.
	Address string `json:"address"`
	// DialTimeout bounds an attempt to connect: "10s". Empty: chaincode.DefaultDialTimeout.
	DialTimeout Duration `json:"dial_timeout,omitempty"`
	// TLSRequired: the stream is encrypted and the service proves itself by a certificate that RootCert signed.
	TLSRequired bool `json:"tls_required,omitempty"`
	// ClientAuthRequired: the service wants ClientCert of us.
	ClientAuthRequired bool `json:"client_auth_required,omitempty"`
	// ClientKey, ClientCert and RootCert are PEM.
	ClientKey  string `json:"client_key,omitempty"`
	ClientCert string `json:"client_cert,omitempty"`
	RootCert   string `json:"root_cert,omitempty"`
}

// A Duration is written as text, "10s", or as nanoseconds.
type Duration time.Duration

// UnmarshalJSON reads either form.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		var nanoseconds int64
		if err := json.Unmarshal(raw, &nanoseconds); err != nil {
			return fmt.Errorf("duration %s: want text like \"10s\"", raw)
		}
		*d = Duration(nanoseconds)
		return nil
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	*d = Duration(parsed)
	return nil
}

// MarshalJSON writes text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

func parseConnection(raw []byte) (*Connection, error) {
	c := &Connection{}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(c); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalidPackage, connectionFile, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalidPackage, connectionFile, err)
	}
	return c, nil
}

func (c *Connection) check() error {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("address %q: want host:port", c.Address)
	}
	if c.DialTimeout < 0 {
		return fmt.Errorf("dial_timeout %s is negative", time.Duration(c.DialTimeout))
	}
	_, err = c.tls()
	return err
}

// tls returns nil if there is none.
func (c *Connection) tls() (*tls.Config, error) {
	if !c.TLSRequired {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM([]byte(c.RootCert)) {
		return nil, fmt.Errorf("tls_required without a root_cert that is a PEM certificate")
	}
	if c.ClientAuthRequired {
		pair, err := tls.X509KeyPair([]byte(c.ClientCert), []byte(c.ClientKey))
		if err != nil {
			return nil, fmt.Errorf("client_cert and client_key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
