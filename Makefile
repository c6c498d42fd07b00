# Scale Out Master. `make help` lists what there is.
SHELL   := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
FUZZTIME ?= 10s
CHAOS    ?= 1h
ATTACK   ?= 20s
MEASURE  ?= 50
RACE     ?= ./...

.DEFAULT_GOAL := help
.PHONY: man docs help build build-all demo unit test race lint fuzz damage chaos attack upgrade-test figures bench e2e clean compose-up compose-down rolling-restart docker-test systemd-verify systemd-test

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

build: ## bin/scaleout, static
	@mkdir -p bin
	$(GOBUILD) -o bin/scaleout ./cmd/scaleout

build-all: ## bin/ for Linux, Windows and macOS
	@mkdir -p bin
	GOOS=linux   GOARCH=amd64 $(GOBUILD) -o bin/scaleout-linux-amd64 ./cmd/scaleout
	GOOS=windows GOARCH=amd64 $(GOBUILD) -o bin/scaleout-windows-amd64.exe ./cmd/scaleout
	GOOS=darwin  GOARCH=arm64 $(GOBUILD) -o bin/scaleout-darwin-arm64 ./cmd/scaleout

demo: build ## three masters, three workers, 200 executions, one killed leader
	./bin/scaleout demo

# Most of what these tests do is wait: more of them at once, and those first that take longest.
# Most of the rest is linking: 'make lint' vets, and these binaries need no debugger.
unit: ## the quick tests, in half a minute
	go test -short -vet=off -ldflags=-w -p 6 -parallel 8 ./cluster/transport ./cmd/worker ./cmd/scaleout ./testcluster ./cluster ./cmd/worker/guard ./...

# The clusters' tests come first, beside all others: both wait more than they work.
test: ## the tests
	go tool gotestsum --format pkgname-and-test-fails -- -timeout 20m -parallel 4 ./testcluster ./...

race: ## the tests under the race detector, of RACE (all packages)
	go tool gotestsum --format pkgname-and-test-fails -- -race -timeout 30m $(RACE)

# Tools with many modules have a go.mod of their own, so that they move nothing in the program's.
GOLANGCI := go tool -modfile=deploy/tools/lint/go.mod golangci-lint

lint: ## gofmt, vet, staticcheck, golangci-lint, the rules for Prometheus, and the import table
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	GOOS=windows go vet ./...
	go -C deploy/tools/promql vet .
	go -C deploy/tools/promql run . ../../prometheus/alerts.yml ../../prometheus/jobs.yml
	$(GOLANGCI) run --allow-parallel-runners ./...
	go test -count=1 -run 'TestRooms|TestArchitecture|TestStateMachineIsPure|TestFilesStayReadable' ./testcluster

e2e: build ## the whole thing as separate processes
	./bin/scaleout demo

fuzz: ## each fuzz target for FUZZTIME
	@for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; \
	done

damage: ## every byte of a master's data directory, changed one at a time
	SCALEOUT_LONG=1 go test -count=1 -timeout 30m -v -run TestEveryByte ./testcluster

chaos: ## random harm under load, new seeds for CHAOS (an hour)
	SCALEOUT_CHAOS=$(CHAOS) go test -count=1 -timeout 0 -v -run TestChaos ./testcluster

attack: ## what strangers and the least privileged may do to a cluster, ATTACK long each
	SCALEOUT_ATTACK=$(ATTACK) go test -count=1 -timeout 0 -v -run TestAttacks ./testcluster

upgrade-test: ## the program that ended the change of formats and the present one, in one cluster under load
	SCALEOUT_UPGRADE=1 go test -count=1 -timeout 10m -v -run TestUpgradeFromFormat1 ./cmd/scaleout

figures: ## failover and rolling restarts, MEASURE rounds of each, with percentiles
	SCALEOUT_MEASURE=$(MEASURE) go test -count=1 -timeout 0 -v -run 'TestFailoverFigures|TestRollingRestartFigures' ./testcluster

bench: ## benchmarks
	go test -run '^$$' -bench . -benchmem ./...

compose-up: build ## three masters and two workers as containers, from images built here
	./deploy/compose.sh up

compose-down: ## stop the containers; their volumes stay
	./deploy/compose.sh down

rolling-restart: build ## restart the containers' masters one after the other, while packages run
	./deploy/build.sh
	./deploy/compose.sh rolling-restart

docker-test: build ## the containers under cut networks, kills, new addresses and a rolling restart
	SCALEOUT_DOCKER=1 go test -count=1 -timeout 10m -run TestCompose ./testcluster

systemd-verify: ## the units, read by systemd itself
	SCALEOUT_SYSTEMD=1 go test -count=1 -run 'Units|ShippedUnits|UnitWord' ./cmd/service

systemd-test: ## machines with systemd, set up as docs/operations.md says, under restarts and hangs
	SCALEOUT_SYSTEMD_BOOT=1 go test -count=1 -timeout 15m -v -run TestSystemd ./testcluster

man: build ## man pages, in bin/man
	./bin/scaleout man bin/man

docs: ## the generated documents: docs/cli.md, docs/settings.md, docs/errors.md, the pictures in docs/architecture.md, OpenAPI
	go test -count=1 -run 'TestOpenAPIDocument|TestErrorsDocument' ./httpapi -update
	go test -count=1 -run TestGeneratedDocuments ./cmd/scaleout -update
	go test -count=1 -run TestArchitecturePictures ./testcluster -update

clean: ## remove what was built
	rm -rf bin
