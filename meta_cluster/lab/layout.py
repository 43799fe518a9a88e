"""What the lab's things are called and where they are: names, addresses, labels, the state folder. Data only; read by the whole lab."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from platformdirs import user_state_path

LABEL = "kok.dev/lab"
LABEL_VALUE = "kok"
ROLE_LABEL = "kok.dev/lab-role"
ADDRESS_LABEL = "kok.dev/lab-address"
LABELLED = f"{LABEL}={LABEL_VALUE}"
NETWORK = "kok-lab"
BRIDGE = "br-kok-lab"
SUBNET = IPv4Network("10.89.0.0/24")
GATEWAY = IPv4Address("10.89.0.1")
META_ADDRESS = IPv4Address("10.89.0.2")
FIRST_HOST = IPv4Address("10.89.0.11")
META_CLUSTER = "kok"
META_NODE = f"{META_CLUSTER}-control-plane"
META_CONTEXT = f"kind-{META_CLUSTER}"
POD_SUBNET = "10.244.0.0/16"
NODE_POD_CIDR = "10.244.0.0/23"
SERVICE_SUBNET = "10.96.0.0/16"
NODE_ASSETS = "/kok-assets"
NODE_SOURCE = "/kok-src"
NODE_SETTINGS = "/kok-lab"


def state_folder() -> Path:
    """`$KOK_LAB_STATE`, else the user's state folder; made, for this user only, if it is not there."""
    folder = Path(os.environ.get("KOK_LAB_STATE") or user_state_path("kok") / "lab").absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def kubeconfig_path() -> Path:
    """Where the meta cluster's kubeconfig lies while the lab is up."""
    return state_folder() / "kubeconfig"


def settings_folder() -> Path:
    """What the nodes of the meta cluster read of the lab's own settings; it outlives the checkout that wrote it."""
    return state_folder() / "node"


def package_path() -> Path:
    """Where the name of the ClusterPackageVersion that the lab installed last is kept."""
    return state_folder() / "package-version"


def owner_path() -> Path:
    """Whose lab it is, by `$KOK_LAB_OF` of the last `up`: "tests" is taken down by the next tests also if these were killed; empty for a person's."""
    return state_folder() / "of"


def ssh_key_path() -> Path:
    """The private key that every lab host accepts."""
    return state_folder() / "id_ed25519"
