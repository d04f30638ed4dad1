# All targets set up their environment first, where that is not done yet; after that they need no network.
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd)

.PHONY: quickstart quadrant demo docs test slow-tests setup

quickstart: setup
	cd "$(ROOT)" && .venv/bin/python tools/quickstart.py

quadrant: setup
	cd "$(ROOT)" && .venv/bin/python tools/quadrant.py

demo:
	@sh "$(ROOT)/tools/setup.sh" .venv-demo demo/requirements.txt 10
	cd "$(ROOT)" && .venv-demo/bin/python demo/app.py

docs:
	@sh "$(ROOT)/tools/setup.sh" .venv-docs docs/requirements.txt 10
	cd "$(ROOT)" && NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build

test: setup
	cd "$(ROOT)" && OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m "not slow" -n auto --dist loadfile \
		--no-loadscope-reorder

slow-tests: setup
	cd "$(ROOT)" && OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m slow -n auto

setup:
	@sh "$(ROOT)/tools/setup.sh"
