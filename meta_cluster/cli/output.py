"""-o json|yaml|name|wide: objects as text. Pure; used by every verb that shows objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum

from operators.errors import ErrorCode, KokError
from operators.ports.kube import Manifest


class Output(StrEnum):
    """What -o takes; empty is the table."""

    Table = ""
    Wide = "wide"
    Json = "json"
    Yaml = "yaml"
    Name = "name"


EVERY = (Output.Wide, Output.Json, Output.Yaml, Output.Name)


def output_named(word: str, *taken: Output) -> Output:
    """The format that -o names, of those a verb takes (none given: all); empty is the table. KokError Usage, with the choices, for any other."""
    choices = taken or EVERY
    if not word:
        return Output.Table
    if word in choices:
        return Output(word)
    raise KokError(ErrorCode.Usage, f"-o {word}: unknown output format here", f"one of {', '.join(choices)}")


def structured(data: object, output: Output) -> str:
    """Plain data as JSON, or as YAML."""
    if output is Output.Json:
        return json.dumps(data, indent=2)
    from operators.yaml_text import write

    return write(data, width=140).rstrip()


def cleaned(manifest: Manifest) -> Manifest:
    """Without managedFields, which nobody reads, and without what only tables show."""
    from meta_cluster.cli.tables import CLUSTER

    metadata = {key: value for key, value in manifest["metadata"].items() if key not in ("managedFields", "annotations")}
    if annotations := {key: value for key, value in (manifest["metadata"].get("annotations") or {}).items() if key != CLUSTER}:
        metadata["annotations"] = annotations
    return {**manifest, "metadata": metadata}


def data_text(manifests: Sequence[Manifest], output: Output, *, single: bool) -> str:
    """JSON or YAML: the object itself when one was named, else a List."""
    content = [cleaned(manifest) for manifest in manifests]
    data: object = content[0] if single else {"apiVersion": "v1", "kind": "List", "items": content}
    return structured(data, output)


def name_text(manifests: Sequence[Manifest]) -> str:
    """`cluster.kok.dev/demo`, one a line, as kubectl's -o name."""
    return "\n".join(f"{m['kind'].lower()}.{m['apiVersion'].split('/')[0]}/{m['metadata']['name']}" for m in manifests)
