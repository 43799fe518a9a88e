"""Labels of nodes: what a key and a value may be, and which keys are kok's own. Decides nothing; imported by the kinds that carry labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from operators.api.base import cel, rules

LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
OURS = cel("!self.startsWith('kok.dev/')", "kok.dev/ is kok's own; use a prefix of yours")
LabelKey = Annotated[str, Field(pattern=LABEL_KEY, max_length=317, json_schema_extra=rules(OURS))]
LabelValue = Annotated[str, Field(pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", max_length=63)]
Labels = Annotated[
    dict[str, LabelValue],
    Field(
        max_length=32,
        json_schema_extra=rules(
            cel(f"self.all(k, k.matches('{LABEL_KEY}'))", "a label's key is an optional DNS prefix and a name: example.org/pool"),
            cel("self.all(k, !k.startsWith('kok.dev/'))", "labels under kok.dev/ are kok's own; use a prefix of yours"),
        ),
    ),
]
