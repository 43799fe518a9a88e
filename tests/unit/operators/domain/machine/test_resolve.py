from __future__ import annotations

from typing import Any

import pytest

from operators.domain.machine.resolve import resolve_artifacts
from operators.errors import ErrorCode, KokError


def manifest(*artifacts: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "kubelet-1"}, "spec": {"artifacts": list(artifacts)}}


def test_should_fill_digests_from_the_index_and_leave_the_original_alone() -> None:
    original = manifest({"name": "kubelet", "asset": "kubelet-1.35.4"}, {"name": "fixed", "sha256": "b"})
    resolved = resolve_artifacts(original, {"kubelet-1.35.4": {"sha256": "a"}})
    assert [artifact["sha256"] for artifact in resolved["spec"]["artifacts"]] == ["a", "b"]
    assert "sha256" not in original["spec"]["artifacts"][0]


@pytest.mark.parametrize(
    ("artifact", "code", "words"),
    [
        ({"name": "x", "asset": "gone-1"}, ErrorCode.AssetUnavailable, "gone-1"),
        ({"name": "x"}, ErrorCode.CatalogueInvalid, "neither sha256 nor asset"),
    ],
)
def test_should_name_package_and_artifact_that_cannot_be_resolved(artifact: dict[str, str], code: ErrorCode, words: str) -> None:
    with pytest.raises(KokError) as caught:
        resolve_artifacts(manifest(artifact), {})
    assert caught.value.code is code
    assert "kubelet-1: artifact x" in caught.value.message
    assert words in caught.value.message
