# All targets set up .venv first, where that is not done yet; after that they need no network.
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd)

.PHONY: quickstart quadrant test docs setup

quickstart: setup
	cd "$(ROOT)" && .venv/bin/python tools/quickstart.py

quadrant: setup
	cd "$(ROOT)" && .venv/bin/python tools/quadrant.py

test: setup
	cd "$(ROOT)" && .venv/bin/python -m pytest

docs: setup
	cd "$(ROOT)" && .venv/bin/python -m venv .venv-docs
	cd "$(ROOT)" && .venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	cd "$(ROOT)" && NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build

setup:
	@sh "$(ROOT)/tools/setup.sh"
