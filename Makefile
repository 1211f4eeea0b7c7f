# Everyday commands; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

export CGO_ENABLED ?= 0
GO      ?= go
TOOLS   := $(CURDIR)/.tools/bin
VERSION ?= 0.1.0
LDFLAGS := -s -w -X github.com/cairn-stack/cairn/host/app.Version=$(VERSION)

# Tools, pinned. Each is installed into .tools/bin by its first use.
BUF            := github.com/bufbuild/buf/cmd/buf@v1.75.0
PROTOC_GO      := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GO_GRPC := google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
PROTOC_CONNECT := connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1
STATICCHECK    := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/cairn and the plugins that ship with it
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/cairn
	@for p in plugins/*/; do n=$$(basename $$p); \
	  echo "$(GO) build -o bin/cairn-plugin-$$n ./plugins/$$n"; \
	  $(GO) build -trimpath -ldflags '-s -w' -o bin/cairn-plugin-$$n ./plugins/$$n || exit 1; done

.PHONY: quickstart
quickstart: build ## Build cairn and run a real pipeline on the default stack
	CAIRN_BIN=$(CURDIR)/bin/cairn $(GO) run ./examples/quickstart

.PHONY: bench
bench: ## Ratios against a floor that is measured in the same run
	$(GO) run ./bench

.PHONY: test
test: ## Run every test, with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 15m ./...

.PHONY: test-long
test-long: ## All fault points and pairs of them, faults in the store, longer random tests
	CAIRN_TEST_LONG=1 $(GO) test -timeout 3h ./e2e
	CGO_ENABLED=1 $(GO) test -race -timeout 30m -tags faults ./host/store/...
	$(GO) test -timeout 30m ./host/engine -run 'TestMachine' -rapid.checks=20000
	$(GO) test ./sdk/config -run '^$$' -fuzz FuzzValidate -fuzztime 1m
	$(GO) test ./sdk/wire -run '^$$' -fuzz FuzzParseHandshake -fuzztime 1m
	$(GO) test ./sdk/artifact -run '^$$' -fuzz FuzzParseTree -fuzztime 1m
	$(GO) test ./sdk/artifact -run '^$$' -fuzz FuzzParseResult -fuzztime 1m

.PHONY: check
check: lint proto-check ## Lint, generated code, contracts, builds for macOS

.PHONY: lint
lint: $(TOOLS)/staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt -w these files:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags faults ./...
	$(TOOLS)/staticcheck ./...
	GOOS=darwin $(GO) vet ./...

.PHONY: proto
proto: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc $(TOOLS)/protoc-gen-connect-go ## Generate the code of the contracts
	cd proto && PATH=$(TOOLS):$$PATH buf format -w
	cd proto && for t in buf.gen.*.yaml; do PATH=$(TOOLS):$$PATH buf generate --template $$t || exit 1; done

.PHONY: proto-check
proto-check: proto
	cd proto && $(TOOLS)/buf lint && $(TOOLS)/buf breaking --against baseline.binpb
	@test -z "$$(git status --porcelain -- proto)" || { echo "generated code is not current; commit what 'make proto' wrote:"; git status --porcelain -- proto; exit 1; }

.PHONY: proto-baseline
proto-baseline: $(TOOLS)/buf ## Accept the contracts as they are as the ones not to break
	cd proto && $(TOOLS)/buf build -o baseline.binpb

$(TOOLS)/buf:                     ; GOBIN=$(TOOLS) $(GO) install $(BUF)
$(TOOLS)/protoc-gen-go:           ; GOBIN=$(TOOLS) $(GO) install $(PROTOC_GO)
$(TOOLS)/protoc-gen-go-grpc:      ; GOBIN=$(TOOLS) $(GO) install $(PROTOC_GO_GRPC)
$(TOOLS)/protoc-gen-connect-go:   ; GOBIN=$(TOOLS) $(GO) install $(PROTOC_CONNECT)
$(TOOLS)/staticcheck:             ; GOBIN=$(TOOLS) $(GO) install $(STATICCHECK)
