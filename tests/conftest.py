"""How the property tests search: the same examples in every run, so that a red run is the change's own doing.

`pytest --hypothesis-profile=explore` looks further, at other examples every time.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("same")
