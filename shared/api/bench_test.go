package api_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"peerless/shared/api"
	"peerless/shared/api/apitest"
)

const benchBody = `{"function":"ReadAsset","args":["{\"ID\":\"asset12345\",\"Color\":\"blue\",\"Size\":5,\"Owner\":\"Tomoko\",\"AppraisedValue\":300,\"note\":\"150 bytes, as the assets that peerless bench makes: ......\"}"]}`

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkEvaluate is the handler alone, over a gateway that does nothing.
func BenchmarkEvaluate(b *testing.B) {
	keys, _ := openKeys(b)
	for name, change := range map[string]func(*api.Config){"dev": func(*api.Config) {}, "key": withKeys(keys)} {
		b.Run(name, func(b *testing.B) {
			h := newHandler(b, &apitest.Fake{}, change)
			header := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + mustCreate(b, keys, api.Key{})}}
			body := bytes.NewReader(nil)
			b.ReportAllocs()
			for b.Loop() {
				body.Reset([]byte(benchBody))
				r := httptest.NewRequestWithContext(b.Context(), "POST", evaluatePath, body)
				r.Header = header
				w := discard{header: make(http.Header)}
				if h.ServeHTTP(&w, r); w.status != 200 {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// BenchmarkEvaluateOverTCP is the same with net/http's server, client and connections that are kept, on as many cores as
// there are.
func BenchmarkEvaluateOverTCP(b *testing.B) {
	h := newHandler(b, &apitest.Fake{})
	server := httptest.NewUnstartedServer(nil)
	server.Config = api.NewServer(h, api.GuardLocal(h))
	server.Start()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	b.SetParallelism(16)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			response, err := client.Post(server.URL+evaluatePath, "application/json", bytes.NewReader([]byte(benchBody)))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.StatusCode != 200 {
				b.Error(response.StatusCode)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
