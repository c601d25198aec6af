package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"peerless/shared/gateway"
	"peerless/shared/wire"
)

type chaincodeList struct {
	Chaincodes []Chaincode `json:"chaincodes"`
}

func (h *Handler) listChaincodes(ctx context.Context, p *Principal, channel string) (*chaincodeList, error) {
	all, err := h.Deployer.Chaincodes(ctx, channel)
	if err != nil {
		return nil, err
	}
	list := &chaincodeList{Chaincodes: []Chaincode{}}
	for _, chaincode := range all {
		if p.seesChaincode(chaincode.Name) {
			list.Chaincodes = append(list.Chaincodes, chaincode)
		}
	}
	return list, nil
}

func (h *Handler) showChaincode(ctx context.Context, _ *Principal, in target) (*Chaincode, error) {
	return h.Deployer.Chaincode(ctx, in.channel, in.chaincode)
}

func (h *Handler) removeChaincode(ctx context.Context, p *Principal, in target) (none, error) {
	return none{}, h.Deployer.Remove(ctx, p, in.channel, in.chaincode)
}

// upload is a package on its way in.
type upload struct {
	channel string
	spec    DeploySpec
	pkg     io.Reader
}

// maxField is the size of a form's field other than the package.
const maxField = 64 << 10

// decodeUpload takes a package as the body, with name, version, policy, collections, sequence and initRequired in the query; or a form
// (multipart/form-data) with these fields, in any order, before the file "package". What the package is, its first bytes
// say, not its content type. JSON names a function instead, that was made before: see decodeFunction.
func decodeUpload(q *request) (*upload, error) {
	control := http.NewResponseController(q.w)
	deadline := time.Now().Add(packageTimeout)
	if err := errors.Join(control.SetReadDeadline(deadline), control.SetWriteDeadline(deadline)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, fmt.Errorf("give the upload time: %w", err)
	}
	if q.ContentLength > MaxPackage+maxField {
		return nil, &http.MaxBytesError{Limit: MaxPackage}
	}
	in := &upload{channel: q.channel}
	query, err := parseQuery(q.Request, "name", "version", "policy", "collections", "sequence", "initRequired", "organization")
	if err != nil {
		return nil, err
	}
	for name, values := range query {
		if err := in.set(name, values[0]); err != nil {
			return nil, err
		}
	}
	body := io.Reader(http.MaxBytesReader(q.w, q.Body, MaxPackage))
	kind, _, _ := mime.ParseMediaType(q.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		if err := in.decodeFunction(q); err != nil {
			return nil, err
		}
		return in, in.check()
	case "", "application/gzip", "application/x-gzip", "application/zip", "application/octet-stream", "application/x-tar", "application/x-www-form-urlencoded":
	case "multipart/form-data":
		if body, err = in.readForm(q); err != nil {
			return nil, err
		}
	default:
		return nil, &Problem{Code: CodeUnsupportedMedia, Field: "Content-Type",
			Detail: "send the package as application/gzip, application/zip or application/octet-stream, or in a form"}
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	buffered := bufio.NewReader(body)
	magic, err := buffered.Peek(4)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, err
	}
	if !bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) && !bytes.HasPrefix(magic, []byte("PK\x03\x04")) {
		return nil, invalid("", "the body is neither a Fabric chaincode package (.tar.gz) nor a zip")
	}
	in.pkg = buffered
	return in, nil
}

// check checks the name and the version, if they are given.
func (in *upload) check() error {
	if in.spec.Name != "" {
		if err := checkChaincode("name", in.spec.Name); err != nil {
			return err
		}
	}
	if v := in.spec.Version; v != "" {
		return checkName("version", v, wire.ChaincodeVersion)
	}
	return nil
}

// decodeFunction reads {"function":"…","qualifier":"…","packageId":"…"}, the last of which may be missing, with the rest of the spec.
func (in *upload) decodeFunction(q *request) error {
	body, err := q.readBody()
	if err != nil {
		return err
	}
	f := &in.spec.Function
	r := jsonReader{data: body}
	err = r.fields(func(name string) (err error) {
		switch name {
		case "function":
			f.Name, err = r.text(name)
		case "qualifier":
			f.Qualifier, err = r.text(name)
		case "packageId":
			f.PackageID, err = r.text(name)
		case "indexes":
			in.spec.Indexes, err = r.names(name)
		case "sequence":
			if r.peek() < '0' || r.peek() > '9' {
				return r.wrongType(name, "a number")
			}
			digits := r.literal()
			r.pos += len(digits)
			err = in.set(name, digits)
		case "initRequired":
			in.spec.InitRequired, err = r.boolean(name)
		case "name", "version", "policy", "collections", "organization":
			var value string
			if value, err = r.text(name); err == nil {
				err = in.set(name, value)
			}
		default:
			err = unknown(name, "function, qualifier, packageId, name, version, policy, collections, indexes, sequence, initRequired, organization")
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !functionName.MatchString(f.Name):
		return invalid("function", "function must be a Lambda function's name, of up to 64 letters, digits, - and _, without its ARN")
	case !functionQualifier.MatchString(f.Qualifier):
		return invalid("qualifier", "qualifier must be an alias of the function, or a version's number: what $LATEST is may change under way")
	case len(f.PackageID) > 256:
		return invalid("packageId", "packageId must be LABEL:SHA256")
	case in.spec.Name == "":
		return invalid("name", "give the chaincode's name")
	}
	return nil
}

// https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html and API_CreateAlias.html
var (
	functionName      = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`)
	functionQualifier = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,128}$`)
)

func (in *upload) set(name, value string) error {
	switch name {
	case "name":
		in.spec.Name = value
	case "version":
		in.spec.Version = value
	case "policy":
		in.spec.Policy = value
	case "collections":
		in.spec.Collections = value
	case "sequence":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 1 {
			return invalid(name, "the sequence must be a number from 1 on")
		}
		in.spec.Sequence = n
	case "organization":
		in.spec.Organization = value
	case "initRequired":
		required, err := strconv.ParseBool(value)
		if err != nil {
			return invalid(name, "initRequired must be true or false")
		}
		in.spec.InitRequired = required
	default:
		return unknown(name, "name, version, policy, collections, sequence, initRequired, organization, and then the file package")
	}
	return nil
}

// readForm reads a form up to its package, which it returns.
func (in *upload) readForm(q *request) (io.Reader, error) {
	q.Body = http.MaxBytesReader(q.w, q.Body, MaxPackage+maxField)
	form, err := q.MultipartReader()
	if err != nil {
		return nil, invalid("Content-Type", "the form is not valid: "+err.Error())
	}
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			return nil, invalid("package", `the form has no file "package"`)
		}
		if err != nil {
			return nil, invalid("", "the form is not valid: "+err.Error())
		}
		if part.FormName() == "package" {
			return http.MaxBytesReader(q.w, part, MaxPackage), nil
		}
		value, err := io.ReadAll(io.LimitReader(part, maxField+1))
		if err != nil || len(value) > maxField {
			return nil, invalid(part.FormName(), fmt.Sprintf("a field of the form has at most %d bytes", maxField))
		}
		if err := in.set(part.FormName(), string(value)); err != nil {
			return nil, err
		}
	}
}

// deploy answers 201, or 202 if organisations have to approve for which this key does not.
func (h *Handler) deploy(ctx context.Context, p *Principal, in *upload) (any, error) {
	if in.spec.Name != "" && !p.seesChaincode(in.spec.Name) {
		return nil, forbidden("this key is not for the chaincode \"" + in.spec.Name + "\"")
	}
	if in.spec.Name == "" && len(p.Chaincodes) > 0 {
		return nil, invalid("name", "this key is for certain chaincodes: give the name")
	}
	chaincode, err := h.Deployer.Deploy(ctx, p, in.channel, in.spec, in.pkg)
	var pending *gateway.PendingError
	if errors.As(err, &pending) {
		if chaincode, err = h.Deployer.Chaincode(ctx, in.channel, pending.Definition.Name); err == nil {
			return &awaited{chaincode, pending.Awaited, pending.Error()}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return created{"/v1/channels/" + url.PathEscape(in.channel) + "/chaincodes/" + url.PathEscape(chaincode.Name), chaincode}, nil
}

// awaited is the answer to a deployment that awaits approvals: 202. The chaincode is as it is.
type awaited struct {
	*Chaincode
	Awaits []string `json:"awaits"` // organisations, by MSP id
	Detail string   `json:"detail"`
}

func (a *awaited) respond(w http.ResponseWriter, _ *http.Request) error {
	body, err := marshal(a)
	if err != nil {
		return fmt.Errorf("encode the chaincode: %w", err)
	}
	writeBody(w, http.StatusAccepted, "application/json", append(body, '\n'))
	return nil
}

// decodeApproval reads a definition to approve: {"version":"1.0","organization":"Org1MSP",…}.
func decodeApproval(q *request) (*upload, error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	in := &upload{channel: q.channel, spec: DeploySpec{Name: q.chaincode}}
	r := jsonReader{data: body}
	err = r.fields(func(name string) (err error) {
		switch name {
		case "sequence":
			if r.peek() < '0' || r.peek() > '9' {
				return r.wrongType(name, "a number")
			}
			digits := r.literal()
			r.pos += len(digits)
			return in.set(name, digits)
		case "initRequired":
			in.spec.InitRequired, err = r.boolean(name)
		case "version", "policy", "collections", "organization":
			var value string
			if value, err = r.text(name); err == nil {
				err = in.set(name, value)
			}
		default:
			err = unknown(name, "version, policy, collections, sequence, initRequired, organization")
		}
		return err
	})
	if err == nil && in.spec.Version == "" {
		err = invalid("version", "give the version that is to be approved")
	}
	if err != nil {
		return nil, err
	}
	return in, in.check()
}

// approve answers with the chaincode, and who approved what is to be its next definition.
func (h *Handler) approve(ctx context.Context, p *Principal, in *upload) (*Chaincode, error) {
	if err := h.Deployer.Approve(ctx, p, in.channel, in.spec); err != nil {
		return nil, err
	}
	return h.Deployer.Chaincode(ctx, in.channel, in.spec.Name)
}

// parseQuery reads the query. A parameter that is not known, or comes twice, is an error.
func parseQuery(r *http.Request, known ...string) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("", "the query is not valid: "+err.Error())
	}
	for name, values := range query {
		if !slices.Contains(known, name) {
			return nil, invalid(name, fmt.Sprintf("unknown parameter %q: there are %q", name, known))
		}
		if len(values) > 1 {
			return nil, invalid(name, fmt.Sprintf("the parameter %q is given twice", name))
		}
	}
	return query, nil
}
