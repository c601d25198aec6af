package awstest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// Limits of HTTP APIs: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
const (
	maxRequestBody   = 10 << 20
	maxIntegration   = 30 * time.Second
	httpAPIRequestID = "Apigw-Requestid"
)

// HTTPAPI serves an API Gateway HTTP API on loopback until the test ends, all of whose routes lead to one function of l by a proxy
// integration of payload format 2.0, and returns its URL. It does to requests and answers what HTTP APIs do: header names in
// lower case, repeated headers and query parameters joined by commas, paths decoded, bodies that are no text in base64; it gives up after 30 s,
// and tells its caller nothing of why a function failed.
func HTTPAPI(t testing.TB, l *Lambda, function string) (url string) {
	t.Helper()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestID()
		w.Header().Set(httpAPIRequestID, id)
		event, err := httpEvent(r, id)
		if err != nil {
			httpAPIError(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
			return
		}
		payload, err := json.Marshal(event)
		if err != nil {
			t.Errorf("awstest: encode an event: %v", err)
			return
		}
		f := l.resolve(function, "")
		if f == nil {
			httpAPIError(w, http.StatusInternalServerError, "Internal Server Error")
			return
		}
		if len(payload) > maxPayload {
			httpAPIError(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
			return
		}
		type invoked struct {
			answer
			err error
		}
		done := make(chan invoked, 1)
		go func() {
			a, err := f.invoke(payload)
			done <- invoked{a, err}
		}()
		select {
		case i := <-done:
			if i.err != nil || i.failed || !answerHTTP(w, i.payload) {
				httpAPIError(w, http.StatusInternalServerError, "Internal Server Error")
			}
		case <-time.After(maxIntegration):
			httpAPIError(w, http.StatusServiceUnavailable, "Service Unavailable")
		}
	}))
}

func httpAPIError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": message})
}

// httpEvent is a request as a function gets it.
func httpEvent(r *http.Request, id string) (*events.APIGatewayV2HTTPRequest, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBody+1))
	if err != nil || len(body) > maxRequestBody {
		return nil, errors.Join(errors.New("the body is too large"), err)
	}
	e := &events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: "$default", RawPath: r.URL.Path, RawQueryString: r.URL.RawQuery, Headers: map[string]string{"host": r.Host},
		QueryStringParameters: map[string]string{},
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			for _, value := range values {
				e.Cookies = append(e.Cookies, strings.Split(value, "; ")...)
			}
			continue
		}
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	for name, values := range r.URL.Query() {
		e.QueryStringParameters[name] = strings.Join(values, ",")
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	now := time.Now()
	e.RequestContext = events.APIGatewayV2HTTPRequestContext{
		RouteKey: e.RouteKey, AccountID: Account, Stage: "$default", RequestID: id, APIID: "double", DomainName: "double.execute-api." + Region + ".amazonaws.com",
		DomainPrefix: "double", Time: now.UTC().Format("02/Jan/2006:15:04:05 +0000"), TimeEpoch: now.UnixMilli(),
		HTTP: events.APIGatewayV2HTTPRequestContextHTTPDescription{Method: r.Method, Path: r.URL.Path, Protocol: r.Proto, SourceIP: ip, UserAgent: r.UserAgent()},
	}
	if isText(r.Header.Get("Content-Type")) {
		e.Body = string(body)
	} else if len(body) > 0 {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return e, nil
}

// isText reports whether an HTTP API passes a body on as it is.
func isText(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/json", "application/javascript", "application/xml":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json")
}

// answerHTTP writes a function's result. It reports whether it is one: what has no status code is the body itself, in JSON.
func answerHTTP(w http.ResponseWriter, result []byte) bool {
	var probe map[string]json.RawMessage
	if json.Unmarshal(result, &probe) != nil || probe["statusCode"] == nil {
		if !json.Valid(result) {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(result)
		return true
	}
	var out events.APIGatewayV2HTTPResponse
	if json.Unmarshal(result, &out) != nil || out.StatusCode < 100 || out.StatusCode > 599 {
		return false
	}
	body := []byte(out.Body)
	if out.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(out.Body); err != nil {
			return false
		}
	}
	for name, value := range out.Headers {
		w.Header().Set(name, value)
	}
	for _, cookie := range out.Cookies {
		w.Header().Add("Set-Cookie", cookie)
	}
	w.WriteHeader(out.StatusCode)
	w.Write(body)
	return true
}
