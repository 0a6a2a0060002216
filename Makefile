.PHONY: check test test-all docs site

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
