"""The ids that etcd derives from its first configuration."""

from __future__ import annotations

from operators.domain.plane.etcd_identity import cluster_id, member_id

URL, TOKEN = "https://demo-etcd-0.demo-etcd-peer.demo.svc:2380", "etcd-u-1"


def test_should_depend_on_every_member_and_on_the_token_but_not_on_order() -> None:
    other = URL.replace("-0", "-1")
    assert cluster_id([URL, other], TOKEN) == cluster_id([other, URL], TOKEN)
    assert len({cluster_id([URL], TOKEN), cluster_id([URL, other], TOKEN), cluster_id([URL], "other")}) == 3


def test_should_compute_what_etcd_computes() -> None:
    """An etcd started without any option prints these two, as half of the issues of its tracker show."""
    assert f"{member_id('http://localhost:2380', 'etcd-cluster'):x}" == "8e9e05c52164694d"
    assert cluster_id(["http://localhost:2380"], "etcd-cluster") == "cdf818194e3a8c32"
