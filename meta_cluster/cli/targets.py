"""What a person names on the command line, in kubectl's forms: KIND NAME..., KIND,KIND, KIND/NAME KIND/NAME... Pure; used by get, describe and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meta_cluster.cli.kinds import NamedKind, is_kind, kinds_named
from operators.errors import ErrorCode, KokError


@dataclass(frozen=True, slots=True)
class Target:
    """Objects of some kinds; without names all of them. `word`: the kinds as they were written."""

    word: str
    kinds: tuple[NamedKind, ...]
    names: tuple[str, ...] = ()


def targets_of(word: str, names: Sequence[str]) -> list[Target]:
    """In the order in which they were named. Raises KokError Usage for a mixture of forms, and for unknown kinds."""
    words = (word, *names)
    if not any("/" in each for each in words):
        kinds = [kind for each in word.split(",") for kind in kinds_named(each.strip())]
        return [Target(word, tuple(dict.fromkeys(kinds)), tuple(names))]
    named: dict[tuple[NamedKind, ...], tuple[str, list[str]]] = {}
    for each in words:
        kind, slash, name = each.partition("/")
        if not slash or not kind or not name or "/" in name:
            hint = "kok get cluster/demo pool/workers, or kok get cluster demo"
            raise KokError(ErrorCode.Usage, f"{each}: KIND/NAME and other forms cannot be mixed", hint)
        named.setdefault(kinds_named(kind), (kind, []))[1].append(name)
    return [Target(kind, kinds, tuple(names)) for kinds, (kind, names) in named.items()]


def one_target(word: str, name: str) -> tuple[str, str]:
    """Kind and name of one object: `cluster demo` or `cluster/demo`. Raises KokError Usage without a name."""
    if not name and "/" not in word and not is_kind(word):
        hint = f"KIND NAME, or KIND/NAME: cluster {word}, machine {word}, ..."
        raise KokError(ErrorCode.Usage, f"{word}: one kind and one name are wanted, and kok has no kind {word!r}", hint)
    (target, *more) = targets_of(word, [name] if name else [])
    if more or len(target.names) != 1 or len(target.kinds) != 1:
        raise KokError(
            ErrorCode.Usage, f"{' '.join(filter(None, (word, name)))}: one kind and one name are wanted", "KIND NAME, or KIND/NAME"
        )
    return target.word, target.names[0]
