// Package webhook sends a channel's chaincode events to who subscribed to them: to an HTTPS endpoint, signed, and with package
// webhook/aws to an SNS topic or an EventBridge bus.
//
// # Guarantee
//
// The ledger is the queue: a subscription is a place in the channel's chain, which moves on after the target has taken an event. So there
// is no gap, whatever fails; an event can come more than once, with the same id; and a subscription's events come in the order of the chain.
// A target that fails is tried again, first after a second and at last every quarter of an hour, without end: nothing is dropped, and
// no other subscription waits for it. How long it has failed, and why, is shown with it.
//
// # Format
//
// Requests are those of Standard Webhooks (https://www.standardwebhooks.com, version 1), for which there are libraries in many languages;
// Verify is one for Go. The body is the event as the API shows it, and its channel.
//
//	webhook-id         <channel>:<block>-<transaction's position in the block>: the same whenever it is sent
//	webhook-timestamp  when it was sent, in seconds since 1970
//	webhook-signature  v1,<base64 of HMAC-SHA256(key, webhook-id "." webhook-timestamp "." body)>
//
// The key is what the secret, whsec_…, has in base64. Any 2xx status within 10 s takes the event; a redirect does not, and is not followed.
//
// # What a URL may be
//
// Who may subscribe could have the platform send requests where only it can reach. Addresses of this machine and of private networks
// are therefore refused, when a connection is made: what a name means, and whether that changes, does not matter. Config.AllowPrivate
// allows them, for development.
package webhook
