# Two targets are all a newcomer needs: `make test` checks everything, `make build` makes bin/proviso and bin/proviso-verify.
GO ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# The suites against real servers, by name. The servers are built once, into the user's cache: about twenty minutes on a machine that never did.
REAL := ^Test(Real|SelectionAgreesWithVelero)
TOOLS = PROVISO_TOOLS="$$($(GO) run -C test/tools .)" && export PROVISO_TOOLS

.PHONY: build test tools format vet static unit cross real bench flips fuzz

build:
	$(GO) build -trimpath -o bin/ ./cmd/...

test: format vet static tools unit cross real

tools:
	@$(GO) run -C test/tools .

format:
	@test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }
	$(GO) mod tidy -diff

vet:
	$(GO) vet ./...
	$(GO) vet -C test/tools .

static:
	$(GO) run $(STATICCHECK) ./...

unit:
	$(TOOLS) && $(GO) test -timeout 40m -skip '$(REAL)' ./...
	$(GO) test -C test/tools .
	$(GO) test -timeout 40m -race ./engine/ ./engine/report ./engine/inspect/... ./webhook ./evidence/producer

# It builds, without cgo, where people run it.
cross:
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/...

# Suites against real servers are never answered from the cache, and one that was skipped is a failure.
real:
	@$(TOOLS) || exit 1; log="$$(mktemp)"; trap 'rm -f "$$log" "$$log.code"' EXIT; \
	{ $(GO) test -count=1 -timeout 40m -v -run '$(REAL)' ./... 2>&1; echo $$? >"$$log.code"; } | tee "$$log" | grep -E '^(=== RUN +[^/]*$$|FAIL|panic: )'; \
	if [ "$$(cat "$$log.code")" != 0 ]; then grep -vE '^(PASS|testing: warning|ok .*no tests to run|\?  )' "$$log"; exit 1; fi; \
	if grep -E '^ *--- SKIP: ' "$$log"; then echo "real-server suites: the ones above were skipped"; exit 1; fi; \
	echo "real-server suites that ran:"; sed -n 's/^--- PASS: /  /p' "$$log"

# Figures, to be read as ratios from one run. GOGC is what the command sets for itself.
bench:
	GOGC=400 $(GO) test -run '^$$' -bench . -benchmem ./engine/... ./test/...

# Every bit of an evidence folder is flipped; in `make unit` it is one bit of each byte.
flips:
	PROVISO_LARGE=1 $(GO) test -count=1 -timeout 60m -v -run '^TestFlips$$' ./evidence

FUZZTIME ?= 20s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done
