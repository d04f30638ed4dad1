"""What makes a stock Paddle fast on the CPU at hand, for programs that want it; nothing here is done on import.

Two facts make Paddle slow on some machines: its MKL takes neither the AVX-512 nor the AVX2 path on AMD processors, and
glibc maps and unmaps every large tensor afresh. Both have cures, the first only before MKL is first used.
"""

from __future__ import annotations

import ctypes
import logging
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
START = Path("/proc/self/environ")
CPUINFO = Path("/proc/cpuinfo")


def tune_cpu() -> Dict[str, Union[int, str]]:
    """Tunes this process for training and inference on its CPU, as far as that is right and still possible.

    - Where the processor is AMD's and Paddle was not imported yet, MKL is told the widest vector instructions it has.
    - Where the C library is glibc, freed memory is kept for the next tensor instead of being given back.
    - Paddle, which is imported for that, gets a thread for each processor that this process may use, divided by the
      processes that were launched together; its own default is one. That holds for the thread that calls this.

    A variable that the user has set is left as it is, and ``PPCC_TUNE_CPU=0`` switches everything off. Call it before
    Paddle is imported to have it all. What it does is logged in one line, at level INFO by the logger "ppcoordconv".

    Returns:
        The names of the variables that were set, with their values, and the number of "threads".

    Examples:
        >>> import ppcoordconv as pcc
        >>> isinstance(pcc.tune_cpu(), dict)
        True
    """
    done: Dict[str, Union[int, str]] = {}
    if os.environ.get(SWITCH) == "0" or not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return done
    if "paddle" not in sys.modules:
        wanted = _vector_instructions(cpu_info())
        done.update({name: value for name, value in wanted.items() if name not in os.environ})
        os.environ.update({name: str(value) for name, value in done.items()})
    if platform.libc_ver()[0] == "glibc":
        done.update(_keep_freed_memory(os.environ))
    if not _user_has_set_threads():
        done.update(_set_threads(process_cpus()))
    what = ", ".join(f"{name}={value}" for name, value in done.items())
    logging.getLogger("ppcoordconv").info("CPU tuning: %s (%s=0 switches it off)", what or "nothing to do", SWITCH)
    return done


def usable_cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_cpus() -> int:
    """This process's share of them: those that paddle.distributed.launch started here share the processors."""
    return max(1, usable_cpus() // int(os.environ.get("PADDLE_LOCAL_SIZE", 1)))


def cpu_info() -> Dict[str, str]:
    """The first processor's entries in ``/proc/cpuinfo``; none where the system has no such file."""
    if not CPUINFO.exists():
        return {}
    first = CPUINFO.read_text().split("\n\n", maxsplit=1)[0]
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


def environment_at_start() -> Dict[str, str]:
    """The variables that this process was started with; where the system does not tell, those that are set now."""
    if not START.exists():
        return dict(os.environ)
    pairs = (variable.partition("=") for variable in os.fsdecode(START.read_bytes()).split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def _user_has_set_threads() -> bool:
    """Paddle sets OMP_NUM_THREADS to 1 when it is imported; then what the process was started with tells."""
    if "paddle" not in sys.modules:
        return "OMP_NUM_THREADS" in os.environ
    return os.environ.get("OMP_NUM_THREADS", "1") != "1" or "OMP_NUM_THREADS" in environment_at_start()


def _set_threads(count: int) -> Dict[str, int]:
    """Through Paddle's own OpenMP: with OMP_NUM_THREADS it would warn at its import, its setter leaves most at one."""
    import paddle

    library = Path(paddle.__file__).parent / "libs" / "libiomp5.so"
    if not library.exists():
        return {}
    ctypes.CDLL(str(library)).omp_set_num_threads(count)
    return {"threads": count}
