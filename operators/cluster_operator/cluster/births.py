"""Makes a Service that wants a certain NodePort, so that a process killed in the middle never loses the port. Decides nothing; called by act.

When server-side apply *creates* a Service and the connection is cut, the API server keeps the port in its allocator for minutes without a Service
that has it, and every later try is refused with "provided port is already allocated". A plain create gives the port back. So such a Service is
born by a create, and its fields are then handed to server-side apply, as kubectl does when it moves an object to it.
"""

from __future__ import annotations

from operators.ports.kube import AlreadyExists, Conflict, Invalid, KubePort, Manifest, NotFound, Ref


def wants_node_port(manifest: Manifest) -> bool:
    """Whether it is a Service that names a NodePort."""
    return manifest["kind"] == "Service" and any("nodePort" in port for port in manifest["spec"].get("ports") or ())


def takes_any_node_port(manifest: Manifest) -> bool:
    """Whether it is a Service that leaves the choice of its NodePort to the API server, which may choose one that another of ours names."""
    return manifest["kind"] == "Service" and manifest["spec"].get("type") == "NodePort" and not wants_node_port(manifest)


async def create_before_apply(port: KubePort, manifest: Manifest) -> None:
    """A create whose fields belong to server-side apply; nothing if the object is there. Raises KokError as `create` does, except for a refusal.

    A refusal is left to the apply that follows: of an existing Service the API server says "port allocated" here, not AlreadyExists.
    """
    try:
        born = await port.create(manifest)
    except (AlreadyExists, Invalid):
        return
    hand_over = [
        {"op": "replace", "path": f"/metadata/managedFields/{index}/operation", "value": "Apply"}
        for index, entry in enumerate(born["metadata"].get("managedFields") or ())
        if entry.get("operation") == "Update" and not entry.get("subresource")
    ]
    try:
        await port.patch_json(Ref.of(manifest), hand_over, resource_version=born["metadata"]["resourceVersion"])
    except (Conflict, NotFound):
        return  # somebody was quicker; the next apply still owns every field of ours
