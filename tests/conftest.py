"""One thread for torch, and the same examples of the property tests in every run.

The models are small: with more threads torch spends its time synchronising them, all the more on a busy machine.
Programs that a test starts inherit it. A red run is the change's own doing: `pytest --hypothesis-profile=explore`
tries other examples every time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("same")
