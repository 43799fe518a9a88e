"""The catalogue's loader, in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.adapters.catalogue_files import FileCatalogue, data_root
from operators.errors import ErrorCode, KokError

CHECKOUT = Path(__file__).parents[4]


def test_should_read_the_checkout() -> None:
    files = FileCatalogue()
    assert data_root() == CHECKOUT
    assert files.manifests("manifests/crds")[0]["kind"] == "CustomResourceDefinition"
    assert files.playbooks() == CHECKOUT / "playbooks"
    assert all(name.endswith(".j2") for name in files.plane_templates("r1"))


def test_should_name_the_revisions_there_are() -> None:
    with pytest.raises(KokError) as refusal:
        FileCatalogue().plane_templates("r99")
    assert refusal.value.code is ErrorCode.CatalogueInvalid
    assert "r1" in refusal.value.message


@pytest.mark.parametrize("folder", ["manifests/none", "../etc", "tests", "packages/../tests"])
def test_should_read_nothing_outside_the_catalogue(folder: str) -> None:
    with pytest.raises(KokError, match="no folder"):
        FileCatalogue().manifests(folder)


def test_should_name_the_file_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "bad.yaml").write_text("a: [")
    with pytest.raises(KokError, match=r"bad\.yaml: not YAML"):
        FileCatalogue(tmp_path).manifests("packages")
    (tmp_path / "packages" / "bad.yaml").write_text("a: 1")
    with pytest.raises(KokError, match="it has no kind"):
        FileCatalogue(tmp_path).manifests("packages")


def test_should_leave_kustomizations_out() -> None:
    kinds = {manifest["kind"] for manifest in FileCatalogue().manifests("manifests/operators")}
    assert "Kustomization" not in kinds
    assert "Deployment" in kinds
