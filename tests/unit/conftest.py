"""How many examples Hypothesis tries: few by default, so that `make test-unit` stays below half a minute; KOK_EXAMPLES=500 tries that many.

A test with `settings(max_examples=...)` of its own needs that many to reach what it is about. No deadlines: other work may have the cores.
"""

from __future__ import annotations

import os

from hypothesis import Phase, settings

settings.register_profile("unit", max_examples=int(os.environ.get("KOK_EXAMPLES", "50")), deadline=None)
settings.register_profile(
    "control",
    max_examples=1000,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
)
"""For positive controls, where a failure is expected: any failing example will do, nobody reads the smallest one, and none is left to chance."""
settings.load_profile("unit")
