# All targets set up .venv first, where that is not done yet; after that they need no network.
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd)

.PHONY: quickstart quadrant test setup

quickstart: setup
	cd "$(ROOT)" && .venv/bin/python tools/quickstart.py

quadrant: setup
	cd "$(ROOT)" && .venv/bin/python tools/quadrant.py

test: setup
	cd "$(ROOT)" && .venv/bin/python -m pytest

setup:
	@sh "$(ROOT)/tools/setup.sh"
