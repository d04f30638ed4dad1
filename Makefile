# Both targets set up .venv first, where that is not done yet; after that they need no network.
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd)

.PHONY: quickstart test setup

quickstart: setup
	cd "$(ROOT)" && .venv/bin/python tools/quickstart.py

test: setup
	cd "$(ROOT)" && .venv/bin/python -m pytest

setup:
	@sh "$(ROOT)/tools/setup.sh"
