package api

// Routes returns "METHOD pattern" of every route.
func (h *Handler) Routes() []string {
	var all []string
	for _, r := range h.routes() {
		all = append(all, r.method+" "+r.path)
	}
	return all
}
