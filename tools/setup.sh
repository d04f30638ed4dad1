#!/bin/sh
# Makes an environment: setup.sh [FOLDER REQUIREMENTS OLDEST_PYTHON_3]. By default .venv, with the GPU build of Paddle
# where an NVIDIA driver answers, else with the CPU build. Does nothing where that is done already.
set -eu
cd "$(dirname "$0")/.."

if nvidia-smi -L >/dev/null 2>&1; then requirements=requirements.txt; else requirements=requirements-cpu.txt; fi
folder=${1:-.venv}
requirements=${2:-$requirements}
oldest=${3:-9}
done_with=$folder/installed-requirements.txt
if cmp -s "$requirements" "$done_with" && "$folder/bin/python" -c ''; then exit 0; fi

if ! "$folder/bin/python" -c '' 2>/dev/null; then
    for python in ${PYTHON:-} python3 python3.12 python3.11 python3.10 python3.9 python none; do
        if [ "$python" = none ]; then
            echo "Python 3.$oldest to 3.12 with its venv module was not found; install one, or name it: PYTHON=/path make" >&2
            exit 2
        fi
        fits="import sys, venv, ensurepip; sys.exit(not (3, $oldest) <= sys.version_info[:2] <= (3, 12))"
        if "$python" -c "$fits" 2>/dev/null; then break; fi
    done
    "$python" -m venv --clear "$folder"
fi
echo "Installing $requirements into $folder: once, a minute or two" >&2
# What is imported is compiled then; of all that is installed, that is a part.
"$folder/bin/python" -m pip install --no-compile --disable-pip-version-check -r "$requirements"
# Last, so that an interrupted installation is taken up again.
cp "$requirements" "$done_with"
