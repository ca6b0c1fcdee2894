"""Imported first, by name, in processes that measure cases: as many of them as cores, so each has one thread.

The libraries read these variables when they are loaded. OpenBLAS without threads also makes the process safe to fork.
"""

import os

os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
)
