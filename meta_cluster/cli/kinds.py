"""The kinds that `kok` names: aliases, where they live, their columns. From the models, so that `kok get` and `kubectl get` show the same. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from operators.api import API_VERSION, KINDS, Resource, Scope
from operators.api.base import Column
from operators.errors import ErrorCode, KokError
from operators.ports.kube import Kind


@dataclass(frozen=True, slots=True)
class NamedKind:
    """One kind as a person names it."""

    name: str
    plural: str
    aliases: tuple[str, ...]
    namespaced: bool
    home: Literal["meta", "business"]
    columns: tuple[Column, ...]

    @property
    def kind(self) -> Kind:
        """For the port."""
        return Kind(API_VERSION, self.name)

    @property
    def full(self) -> str:
        """`clusters.kok.dev`: what never means another project's kind."""
        return f"{self.plural}.kok.dev"


ASK_INSTEAD = {
    "node": "kok calls it a machine: kok get machines, kok why machine NAME; its Node: kubectl get nodes with what `kok kubeconfig` prints",
}
"""Kinds that people look for here, and what to type instead."""
ALL = "kok"
"""On the command line: every kind, as in `kubectl get kok`."""
_EXTRA_ALIASES = {
    "MachinePool": ("pool", "pools"),
    "Machine": ("host", "hosts"),
    "OperationGrant": ("grant", "grants"),
    "FleetRollout": ("rollout", "rollouts"),
    "ClusterRelease": ("release", "releases"),
    "OperationBudget": ("budget", "budgets"),
}


def _named(model: type[Resource]) -> NamedKind:
    info, name = model.INFO, model.__name__
    aliases = (info.plural, name.lower(), f"{info.plural}.kok.dev", *info.short, *_EXTRA_ALIASES.get(name, ()))
    return NamedKind(name, info.plural, aliases, info.scope is Scope.Namespaced, info.home, info.columns)


TELLING = 5
"""Letters of a name that is suggested: anything is near a short one."""
NAMED: tuple[NamedKind, ...] = tuple(_named(model) for model in KINDS)
_BY_ALIAS = {alias: kind for kind in NAMED for alias in kind.aliases}


def kind_named(word: str) -> NamedKind:
    """The kind that `word` names: plural, singular, short, full; any case. Raises KokError Usage with what is close."""
    found = _BY_ALIAS.get(word.lower())
    if found:
        return found
    close = difflib.get_close_matches(word.lower(), [*(alias for alias in _BY_ALIAS if len(alias) >= TELLING), ALL], n=1)
    hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(kind.plural for kind in NAMED)}, or {ALL} for all"
    raise KokError(ErrorCode.Usage, f"kok has no kind {word!r}", ASK_INSTEAD.get(word.lower().rstrip("s"), hint))


def is_kind(word: str) -> bool:
    """Whether it names a kind, however written."""
    return word.lower() in _BY_ALIAS or word.lower() == ALL


def kinds_named(word: str) -> tuple[NamedKind, ...]:
    """One kind, or every kind for `kok`."""
    return NAMED if word.lower() == ALL else (kind_named(word),)
