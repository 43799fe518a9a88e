"""Turns the templates of one plane revision into manifests. Pure; called by `desired`.

Every `{{ }}` is one whole YAML value: what it yields is written as JSON, so that text cannot become structure and types survive.
What a plane consists of stands in the templates alone (a revision pins it); the functions offered to them carry no content of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import yaml
from jinja2 import DictLoader, Environment, StrictUndefined, Template, TemplateError, TemplateNotFound, Undefined, pass_context
from jinja2.runtime import Context

from operators.api.base import LABEL_CLUSTER, LABEL_COMPONENT, LABEL_MANAGED_BY, MANAGED_BY
from operators.domain.plane import flags
from operators.domain.plane.desired_skeleton import Values, filled, may_be_marked
from operators.domain.plane.inputs import LABEL_NAMESPACE, Manifest, Names, PlaneInputs, service_address
from operators.errors import ErrorCode, KokError
from operators.yaml_text import read_all

SECRETS_ANNOTATION = "kok.dev/secrets"
"""On pod templates: `<secret>=<digest>` of every Secret that the pod mounts, so that a changed one rolls it."""
MARK = "_mark"
"""Name in a template's context of what puts marks in place of values; without it values are written out."""
EMULATING = ("apiserver", "controllerManager", "scheduler")
EMULATION_FLAGS = ("emulated-version", "emulation-forward-compatible", "min-compatibility-version")
_COMPILING = Lock()
_UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


class NotYet(Exception):
    """Something a component needs is not there yet; the sentence says what."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """The templates of one revision with the inputs of one plane."""

    inputs: PlaneInputs
    templates: Mapping[str, str]

    def render(self, template: str, **more: object) -> tuple[Manifest, ...]:
        """The manifests of one template. Raises NotYet, and KokError TemplateInvalid or what the flags raise."""
        context = self._context() | more
        try:
            found, values = _compiled(self.templates, f"{template}.yaml.j2"), Values()
            documents = None
            if may_be_marked(self.templates[f"{template}.yaml.j2"]):
                documents = filled(found.render(context | {MARK: values.mark}), values.written)
            documents = documents or tuple(read_all(found.render(context)))
        except TemplateNotFound as error:
            raise _invalid(template, f"the revision has no {error.name}") from error
        except (TemplateError, yaml.YAMLError, TypeError, ValueError) as error:
            raise _invalid(template, str(error)) from error
        return documents

    def _context(self) -> dict[str, object]:
        spec, package = self.inputs.cluster.spec, self.inputs.package.spec
        names = Names.of(self.inputs.cluster)
        return {
            "cluster": spec,
            "cluster_uid": self.inputs.cluster.metadata.uid,
            "package": package,
            "names": names,
            "namespace": names.namespace,
            "endpoint": self.inputs.endpoint,
            "tunnel": self.inputs.tunnel,
            "apiserver_address": service_address(spec.network.service_cidr, 1),
            "dns_address": service_address(spec.network.service_cidr, 10),
            "labels": self._labels,
            "metadata": self._metadata,
            "inside_metadata": self._inside_metadata,
            "secrets": self._secrets,
            "arguments": self._arguments,
            "settings": self._settings,
        }

    def _labels(self, component: str) -> dict[str, str]:
        return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_CLUSTER: self.inputs.cluster.metadata.name, LABEL_COMPONENT: component}

    def _metadata(self, name: str, component: str, namespaced: bool = True) -> dict[str, object]:
        """Metadata of an object in the meta cluster."""
        namespace, labels = Names.of(self.inputs.cluster).namespace, self._labels(component)
        if namespaced:
            return {"name": name, "namespace": namespace, "labels": labels}
        return {"name": name, "labels": {**labels, LABEL_NAMESPACE: namespace}}

    def _inside_metadata(self, name: str, component: str, namespace: str = "", more: Mapping[str, str] | None = None) -> dict[str, object]:
        """Metadata of an object in the business cluster."""
        where = {"namespace": namespace} if namespace else {}
        return {"name": name, **where, "labels": {**self._labels(component), **(more or {})}}

    def _secrets(self, *names: str) -> str:
        """Digests of the named Secrets, for SECRETS_ANNOTATION."""
        digests = self.inputs.secret_digests
        if missing := [name for name in names if name not in digests]:
            raise NotYet(f"Secret {missing[0]} is not there yet")
        return ",".join(f"{name}={digests[name]}" for name in sorted(names))

    def _arguments(self, component: str, **given: Any) -> list[str]:
        if component in EMULATING:  # a hop to another minor sets these, and nobody else
            emulated = {"emulated-version": self.inputs.emulated} if self.inputs.emulated else {}
            given["owned"] = {**given["owned"], **emulated}
            given["refused"] = (*given.get("refused", ()), *EMULATION_FLAGS)
        return flags.arguments(flags.overrides_of(component, self.inputs.package, self.inputs.cluster), component=component, **given)

    def _settings(self, component: str, **given: Any) -> dict[str, object]:
        return flags.settings(flags.overrides_of(component, self.inputs.package, self.inputs.cluster), component=component, **given)


def _compiled(templates: Mapping[str, str], name: str) -> Template:
    """Compiled by one thread: a process that starts renders many planes at once, and each would compile all templates."""
    with _COMPILING:
        return _environment(tuple(sorted(templates.items()))).get_template(name)


@lru_cache(maxsize=8)
def _environment(templates: tuple[tuple[str, str], ...]) -> Environment:
    """Compiled once per revision: a process knows few revisions and renders thousands of planes."""
    environment = Environment(  # noqa: S701 - the output is YAML, and every value is written as JSON
        loader=DictLoader(dict(templates)),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["json_text"] = lambda value: json.dumps(value, sort_keys=True)
    environment.filters["digest"] = lambda value: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
    return environment


@pass_context
def _finalize(context: Context, value: object) -> str:
    """The value as JSON, or a mark in its place."""
    written = _json(value)
    mark = context.get(MARK)
    return mark(written) if mark else written


def _json(value: object) -> str:
    """JSON that YAML reads as the same value: what YAML calls unprintable is escaped."""
    if isinstance(value, Undefined):
        return str(value)  # StrictUndefined raises, naming what is missing
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False))


def _invalid(template: str, reason: str) -> KokError:
    return KokError(ErrorCode.TemplateInvalid, f"plane template {template}: {reason}", "this is a fault of the plane revision; report it")
