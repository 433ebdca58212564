# Each target sets up what it needs in .venv. `make demo` is the place to start.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard proto/whymatch/v1/*.proto)

.PHONY: demo test fuzz lint bench generate api model

demo: .venv/installed
	$(BIN)/whymatch demo --output demo-output

test: .venv/installed
	$(BIN)/pytest --numprocesses 2 --dist loadfile

# The property tests with other random examples each time, and ten times as many.
fuzz: .venv/installed
	HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -m hypothesis --timeout 1800 --numprocesses 2

lint: .venv/installed build/view
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p whymatch
	cd proto && ../$(BIN)/buf lint && ../$(BIN)/buf breaking --against api.binpb
	rm -rf build/generated && mkdir -p build/generated
	$(MAKE) --no-print-directory generate OUT=build/generated CLIENT_OUT=build/generated
	diff -r --exclude='*.proto' --exclude=__init__.py --exclude=py.typed --exclude=__pycache__ \
		build/generated/whymatch proto/whymatch || $(STALE)
	for file in $$(grep -l '^# Generated from' client/*.py build/generated/*.py | xargs -n 1 basename); do \
		cmp client/$$file build/generated/$$file || $(STALE); done

bench: .venv/installed
	$(BIN)/python -m benchmarks

# Makes the bundled model again from its images, in 95 minutes on two cores; build/model keeps what is done already.
IMAGES ?= ../shared/data/images
TEACHER ?= mobilenet_v2=../shared/data/weights/mobilenet_v2_imagenet.safetensors
CLASS_NAMES ?= ../shared/facts/imagenet_labels.txt
model: .venv/installed
	BIN=$(BIN) embed/weights/recipe.sh $(IMAGES) $(TEACHER) $(CLASS_NAMES)

# The protos' code, and the sync client from the async one.
OUT ?= proto
CLIENT_OUT ?= client
STALE := { echo "generated code is stale: run make generate"; exit 1; }
generate: .venv/installed
	$(BIN)/python -m grpc_tools.protoc -Iproto --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --python_out=$(OUT) --grpc_python_out=$(OUT) \
		--mypy_out=quiet:$(OUT) --mypy_grpc_out=quiet:$(OUT) $(PROTOS)
	$(BIN)/python .ci/translate_client.py $(CLIENT_OUT)

# The image of the API that `make lint` compares the protos with, made at a release; until 0.1.0 is out, words may
# change together with it.
api: .venv/installed
	cd proto && ../$(BIN)/buf build --exclude-source-info --output api.binpb

# The rooms laid out as the package they import as, for mypy.
build/view:
	mkdir -p build/view/whymatch
	for room in embed index explain server client; do ln -sfn $(CURDIR)/$$room build/view/whymatch/$$room; done
	ln -sfn $(CURDIR)/proto/whymatch/v1 build/view/whymatch/v1

# An editable installation alone is an import hook, which mypy, Pyright and Pylance do not see; they follow .pth files.
.venv/installed: pyproject.toml constraints.txt | build/view
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[server,timm,train,dev]"
	echo $(CURDIR)/build/view > $$($(BIN)/python -c "import sysconfig as s; print(s.get_path('purelib'))")/whymatch.pth
	touch $@
