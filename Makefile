# Images for `make bench`: a folder or an archive in ImageFolder's layout.
CIFAR10 ?= $(wildcard ../shared/data/cifar10-jpeg.tar.xz)

.PHONY: check test test-all docs site bench

check:  ## lint, format and types
	ruff check .
	ruff format --check .
	mypy

test:  ## the fast tests: what a change needs while it is being written
	pytest

test-all:  ## every test: processes, DDP, kill and resume included
	pytest
	pytest -m slow -n 0

docs:  ## the pictures of README and docs, drawn anew
	python docs/draw.py

site:  ## the documentation as pages, in site/: open site/index.html
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

bench:  ## every claim measured, the page of the evidence made; benchmarks/README.md says how long that takes
	python -m benchmarks images=$(CIFAR10)
	python benchmarks/callback_cost.py
	python benchmarks/range_test_cost.py
	python benchmarks/training_step.py
	python benchmarks/loading.py
	python benchmarks/ensemble_inference.py
	python benchmarks/ensemble_memory.py
	python benchmarks/snapshot_writes.py
	python benchmarks/superconvergence.py
	python benchmarks/range_test.py report --half both
	python -m benchmarks draw
