package cloud

import (
	"log/slog"
	"net/http"
	"path"
	"time"

	"peerless/shared/emf"
)

// Namespace is CloudWatch's name for the platform's metrics.
const Namespace = "Peerless"

// meter measures requests: Requests, Failures (answers of 500 and more) and Latency, of the stage, and of the channel and chaincode that ran.
type meter struct {
	http.Handler
	*emf.Emitter
	stage  string
	logger *slog.Logger
}

func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	m.Handler.ServeHTTP(answer, r)
	failures := 0.0
	if answer.status >= 500 {
		failures = 1
	}
	err := m.Emit(start, []emf.Metric{
		{Name: "Requests", Unit: emf.Count, Value: 1},
		{Name: "Failures", Unit: emf.Count, Value: failures},
		{Name: "Latency", Unit: emf.Milliseconds, Value: float64(time.Since(start).Microseconds()) / 1000},
	}, m.dimensions(r, answer.status), map[string]any{
		"route": r.Pattern, "method": r.Method, "status": answer.status, "request": w.Header().Get("X-Request-Id"),
	})
	if err != nil {
		m.logger.ErrorContext(r.Context(), "metrics of a request are lost", "error", err)
	}
}

// dimensions gives a chaincode metrics of its own once it has run: a name that a caller made up, or may not use, gets none.
func (m *meter) dimensions(r *http.Request, status int) [][]emf.Dimension {
	stage := emf.Dimension{Name: "Stage", Value: m.stage}
	sets := [][]emf.Dimension{{stage}}
	switch verb := path.Base(r.Pattern); {
	case verb != "submit" && verb != "evaluate" && verb != "queue":
	case status < 300, status == http.StatusConflict, status == http.StatusUnprocessableEntity, status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		sets = append(sets, []emf.Dimension{stage, {Name: "Channel", Value: r.PathValue("ch")}, {Name: "Chaincode", Value: r.PathValue("cc")}, {Name: "Call", Value: verb}})
	}
	return sets
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
