"""What makes a stock Paddle fast on the CPU at hand, for programs that want it; nothing here is done on import.

Two facts make Paddle slow on some machines: its MKL takes neither the AVX-512 nor the AVX2 path on AMD processors, and
glibc maps and unmaps every large tensor afresh. Both have cures, the first only before MKL is first used.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Dict, Mapping, Union

# glibc's mallopt parameters, and values above any tensor: large blocks stay in the heap when they are freed.
_MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
    "MALLOC_TOP_PAD_": (-2, 2**29),
    "MALLOC_MMAP_THRESHOLD_": (-3, 2**31 - 1),
}
SWITCH = "PPCC_TUNE_CPU"


def tune_cpu() -> Dict[str, Union[int, str]]:
    """Tunes this process for training and inference on its CPU, as far as that is right and still possible.

    - Where the processor is AMD's and Paddle was not imported yet, MKL is told the widest vector instructions it has.
    - Where the C library is glibc, freed memory is kept for the next tensor instead of being given back.
    - OpenMP and MKL get a thread for each processor that this process may use.

    A variable that the user has set is left as it is, and ``PPCC_TUNE_CPU=0`` switches everything off. Call it before
    Paddle is imported to have it all.

    Returns:
        What was done: the names of the variables, with their values.

    Examples:
        >>> import ppcoordconv as pcc
        >>> isinstance(pcc.tune_cpu(), dict)
        True
    """
    if os.environ.get(SWITCH) == "0" or not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return {}
    done: Dict[str, Union[int, str]] = {}
    before_paddle = "paddle" not in sys.modules
    wanted = {**_vector_instructions(_cpu_info()), "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    if before_paddle:
        for name, value in wanted.items():
            if name not in os.environ:
                done[name] = os.environ[name] = value
    if platform.libc_ver()[0] == "glibc":
        done.update(_keep_freed_memory(os.environ))
    return done


def _cpu_info() -> Dict[str, str]:
    """The first processor's entries in ``/proc/cpuinfo``."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n", maxsplit=1)[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def _vector_instructions(cpu: Mapping[str, str]) -> Dict[str, str]:
    if cpu.get("vendor_id") != "AuthenticAMD":
        return {}
    flags = cpu.get("flags", "").split()
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(flags):
        return {"MKL_DEBUG_CPU_TYPE": "7"}
    return {"MKL_DEBUG_CPU_TYPE": "5"} if "avx2" in flags else {}


def _keep_freed_memory(environment: Mapping[str, str]) -> Dict[str, int]:
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {name: setting for name, setting in _MALLOC.items() if name not in environment}
    return {name: value for name, (parameter, value) in wanted.items() if mallopt(parameter, value)}
