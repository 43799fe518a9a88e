"""The bootstrap record: what the operator writes is what it and the members read."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.domain.plane.desired import desired_plane
from operators.domain.plane.desired_bootstrap import EtcdBootstrap, bootstrap_record, first_token, read_bootstrap
from operators.errors import ErrorCode, KokError
from operators.services import etcd_start
from tests.unit.operators.domain.plane.rendered import a_cluster, some_inputs, templates

BORN = EtcdBootstrap("cdf818194e3a8c32", "etcd-5a4b7c0e", added=("demo-etcd-2",), members=("demo-etcd-0=https://a:2380",))


def test_should_read_what_it_wrote() -> None:
    assert read_bootstrap(bootstrap_record(a_cluster(), "etcd", BORN)) == BORN


def test_should_be_readable_by_a_member(tmp_path: Path) -> None:
    for key, value in bootstrap_record(a_cluster(), "etcd", BORN)["data"].items():
        (tmp_path / key).write_text(value)

    record = etcd_start.read_record(tmp_path)

    assert record == etcd_start.Record(BORN.token, BORN.added, BORN.members)


def test_should_be_mounted_where_it_is_written() -> None:
    (statefulset,) = (m for m in desired_plane(some_inputs(), templates()).components["etcd"] if m["kind"] == "StatefulSet")
    pod = statefulset["spec"]["template"]["spec"]
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "record")
    environment = {entry["name"]: entry.get("value") for entry in pod["initContainers"][0]["env"]}

    assert volume["configMap"]["name"] == bootstrap_record(a_cluster(), "etcd", BORN)["metadata"]["name"]
    assert volume["configMap"]["optional"] is True
    assert environment["KOK_ETCD_TOKEN"] == first_token(a_cluster(), "etcd")


@pytest.mark.parametrize("lost", ["clusterID", "token", "added", "members"])
def test_should_refuse_a_record_that_lost_a_field(lost: str) -> None:
    record = bootstrap_record(a_cluster(), "etcd", BORN)
    del record["data"][lost]

    with pytest.raises(KokError) as caught:
        read_bootstrap(record)

    assert caught.value.code is ErrorCode.InvalidObject
    assert lost in caught.value.message
