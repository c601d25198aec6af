package api

import "net/http"

// A route is one method of one path. Paths are patterns of http.ServeMux.
type route struct {
	method, path string
	serve        http.HandlerFunc
}

// routes are all there are. openapi.json describes each; a test compares.
func (h *Handler) routes() []route {
	const (
		channel    = "/v1/channels/{ch}"
		chaincodes = channel + "/chaincodes"
		chaincode  = chaincodes + "/{cc}"
	)
	return append(append(h.signedRoutes(channel), h.platformRoutes(channel, chaincode)...), []route{
		{"GET", "/healthz", handle(h, scopePublic, decodeNone, h.health)},
		{"GET", "/docs", handle(h, scopePublic, decodeNone, h.docs)},
		{"GET", "/v1/openapi.json", handle(h, scopePublic, decodeNone, h.openAPI)},

		{"GET", "/v1/keys", handle(h, ScopeAdmin, decodeNone, control(h, h.listKeys))},
		{"POST", "/v1/keys", handle(h, ScopeAdmin, decodeNewKey, control(h, h.createKey))},
		{"DELETE", "/v1/keys/{id}", handle(h, ScopeAdmin, decodeID, control(h, h.revokeKey))},
		{"GET", "/v1/tenants", handle(h, ScopeAdmin, decodeNone, control(h, h.listTenants))},
		{"POST", "/v1/tenants", handle(h, ScopeAdmin, decodeNewTenant, control(h, h.createTenant))},
		{"DELETE", "/v1/tenants/{id}", handle(h, ScopeAdmin, decodeID, control(h, h.removeTenant))},

		{"GET", "/v1/channels", handle(h, ScopeEvaluate, decodeNone, h.listChannels)},
		{"POST", "/v1/channels", handle(h, ScopeAdmin, decodeNewChannel, h.createChannel)},
		{"GET", channel, handle(h, ScopeEvaluate, decodeChannel, h.showChannel)},

		{"GET", chaincodes, handle(h, ScopeEvaluate, decodeChannel, h.listChaincodes)},
		{"POST", chaincodes, handle(h, ScopeAdmin, decodeUpload, h.deploy)},
		{"GET", chaincode, handle(h, ScopeEvaluate, decodeBoth, h.showChaincode)},
		{"DELETE", chaincode, handle(h, ScopeAdmin, decodeBoth, h.removeChaincode)},
		{"POST", chaincode + "/approvals", handle(h, ScopeAdmin, decodeApproval, h.approve)},
		{"POST", chaincode + "/submit", handle(h, ScopeSubmit, decodeInvocation, h.submit)},
		{"POST", chaincode + "/queue", handle(h, ScopeSubmit, h.decodeQueued, h.enqueue)},
		{"POST", chaincode + "/evaluate", handle(h, ScopeEvaluate, decodeInvocation, h.evaluate)},
		{"GET", chaincode + "/history/{key...}", handle(h, ScopeEvaluate, decodeKey, h.showHistory)},

		{"GET", channel + "/queue", handle(h, ScopeEvaluate, decodeChannel, h.showQueue)},
		{"GET", channel + "/dead-letters", handle(h, ScopeAdmin, decodeDeadLetters, h.listDeadLetters)},
		{"POST", channel + "/dead-letters/{id}/redrive", handle(h, ScopeAdmin, decodeTransactionRef, h.redrive)},
		{"DELETE", channel + "/dead-letters/{id}", handle(h, ScopeAdmin, decodeTransactionRef, h.removeDeadLetter)},

		{"GET", channel + "/transactions/{id}", handle(h, ScopeEvaluate, decodeTransactionRef, h.showTransaction)},
		{"GET", channel + "/transactions/{id}/receipt", handle(h, ScopeEvaluate, decodeTransactionRef, h.showReceipt)},
		{"GET", channel + "/checkpoint", handle(h, ScopeEvaluate, decodeChannel, h.showCheckpoint)},
		{"GET", channel + "/blocks", handle(h, ScopeEvaluate, decodeBlockRange, h.listBlocks)},
		{"GET", channel + "/blocks/{n}", handle(h, ScopeEvaluate, decodeBlockRef, h.showBlock)},
		{"GET", channel + "/webhooks", handle(h, ScopeAdmin, decodeChannel, h.listWebhooks)},
		{"POST", channel + "/webhooks", handle(h, ScopeAdmin, h.decodeWebhook, h.addWebhook)},
		{"DELETE", channel + "/webhooks/{id}", handle(h, ScopeAdmin, decodeTransactionRef, h.removeWebhook)},
		{"GET", channel + "/events", handle(h, ScopeEvaluate, decodeEvents, h.events)},
	}...)
}
