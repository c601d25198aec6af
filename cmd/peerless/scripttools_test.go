package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"peerless/shared/deploy"
)

// request METHOD URL [BODY [HOST]] sends a request and prints the body of the answer, whatever its status.
func scriptRequest(ts *testscript.TestScript, neg bool, args []string) {
	args = append(args, "", "")
	request, err := http.NewRequest(args[0], args[1], strings.NewReader(args[2]))
	ts.Check(err)
	if args[3] != "" {
		request.Host = args[3]
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	response, err := client.Do(request)
	ts.Check(err)
	defer response.Body.Close()
	_, err = io.Copy(ts.Stdout(), response.Body)
	ts.Check(err)
}

// package FILE DIR LABEL makes a package of a contract's source, as Fabric takes it.
func scriptPackage(ts *testscript.TestScript, neg bool, args []string) {
	pkg, err := deploy.Pack(context.Background(), ts.MkAbs(args[1]), args[2], deploy.BuildConfig{})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pkg, 0o600))
}

// paste FILE runs the first curl line of a file, as a shell would.
func scriptPaste(ts *testscript.TestScript, neg bool, args []string) {
	line := compile(ts, `^ +curl (http\S+) -d '([^']*)'$`).FindStringSubmatch(ts.ReadFile(args[0]))
	if line == nil {
		ts.Fatalf("no curl line in %s", args[0])
	}
	scriptRequest(ts, false, []string{http.MethodPost, line[1], line[2]})
}

// certificate FILE KEYFILE makes a certificate of 127.0.0.1.
func scriptCertificate(ts *testscript.TestScript, neg bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	var out bytes.Buffer
	ts.Check(pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
	out.Reset()
	ts.Check(pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out.Bytes(), 0o600))
}

// flip FILE [OFFSET] damages one byte of a file, in the middle if no place is given. FILE may be a pattern: its first match.
func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	matches, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(matches) == 0 {
		ts.Fatalf("nothing matches %s", args[0])
	}
	raw, err := os.ReadFile(matches[0])
	ts.Check(err)
	offset := len(raw) / 2
	if len(args) > 1 {
		offset, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	raw[offset] ^= 0x40
	ts.Check(os.WriteFile(matches[0], raw, 0o600))
}

// capture VARIABLE PATTERN sets a variable to the pattern's first group in the standard output of the last command.
func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	match := compile(ts, args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if match == nil {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], match[1])
}

// arglist FILE SIZE… writes a JSON array of strings of these sizes.
func scriptArgList(ts *testscript.TestScript, neg bool, args []string) {
	var list []string
	for _, arg := range args[1:] {
		size, err := strconv.Atoi(arg)
		ts.Check(err)
		list = append(list, `"`+strings.Repeat("x", size)+`"`)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("["+strings.Join(list, ",")+"]"), 0o600))
}

// contract NAME [DIR] copies one of this repository's contracts into the script's module.
func scriptContract(ts *testscript.TestScript, neg bool, args []string) {
	target := args[0]
	if len(args) > 1 {
		target = args[1]
	}
	root, err := filepath.Abs(filepath.Join("..", "..", "contracts", args[0]))
	ts.Check(err)
	imported := map[string]string{`"peerless/contracts/` + args[0]: `"example/` + filepath.ToSlash(target)}
	ts.Check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for old, now := range imported {
			raw = []byte(strings.ReplaceAll(string(raw), old, now))
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		place := ts.MkAbs(filepath.Join(target, relative))
		return errors.Join(os.MkdirAll(filepath.Dir(place), 0o755), os.WriteFile(place, raw, 0o644))
	}))
}

// clientProgram is the client of the Fabric Gateway that README shows.
var clientProgram = filepath.Join("testdata", "client", "main.go")

// gatewayclient DIR writes the program that README shows.
func scriptGatewayClient(ts *testscript.TestScript, neg bool, args []string) {
	program, err := os.ReadFile(clientProgram)
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "main.go"), program, 0o644))
}

// TestREADMEClient compares the program in README with the one that a script runs.
func TestREADMEClient(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(clientProgram)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(program), "func main() {")
	body, _, _ = strings.Cut(body, "\n}\n")
	if !strings.Contains(string(readme), "func main() {"+body+"\n}") {
		t.Errorf("README does not show the client of %s", clientProgram)
	}
}
