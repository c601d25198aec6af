# How the functions of template.yaml are built: `sam build` runs the target build-<LogicalId> of each, with ARTIFACTS_DIR set. It names no
# architecture; the Makefile that it reads, in functions/build/<architecture>, does.
#
#   make dist [GOARCH=arm64]    all of them, in dist/<logical id>/
#
# Stage local's gateway and queue have the reference contracts linked in; the tag aws leaves them out.
# The same source and toolchain give the same bytes: no paths, no build id, no version control in them.
GOARCH ?= arm64
TAGS ?= lambda.norpc,grpcnotrace,aws
dist = $(CURDIR)/dist
ARTIFACTS_DIR ?= $(dist)/$(@:build-%=%)

GatewayFunction       = ./functions/gateway
AssetTransferFunction = ./functions/assettransfer
QueueFunction         = ./functions/queue
EventsFunction        = ./functions/events
ProbeFunction         = ./functions/probe
AdapterLayer          = ./functions/adapter

functions = GatewayFunction QueueFunction EventsFunction AssetTransferFunction ProbeFunction AdapterLayer

.PHONY: dist $(functions:%=build-%)
dist: $(functions:%=build-%)

$(functions:%=build-%):
	CGO_ENABLED=0 GOOS=linux GOARCH=$(GOARCH) go build -trimpath -buildvcs=false -tags $(TAGS) -ldflags '-s -w -buildid=' \
		-o '$(ARTIFACTS_DIR)/bootstrap' $($(@:build-%=%))
