# Two targets are all a newcomer needs: `make test` checks everything, `make build` makes bin/proviso.
GO ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build test format vet static unit cross bench fuzz

build:
	$(GO) build -trimpath -o bin/proviso ./cmd/proviso

test: format vet static unit cross
	@echo "real-server suites: none yet (they come with the inspectors of live systems)"

format:
	@test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }
	$(GO) mod tidy -diff

vet:
	$(GO) vet ./...

static:
	$(GO) run $(STATICCHECK) ./...

unit:
	$(GO) test ./...
	$(GO) test -race ./engine/ ./engine/report ./engine/inspect/...

# It builds, without cgo, where people run it.
cross:
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./cmd/proviso
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/proviso
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/proviso

# Figures, to be read as ratios from one run. GOGC is what the command sets for itself.
bench:
	GOGC=400 $(GO) test -run '^$$' -bench . -benchmem ./engine/... ./test/...

FUZZTIME ?= 20s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done
