"""What an engine is told to create."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.engine_api.document import create_document, encode

PLAIN = ContainerSpec(name="x", image="agent:latest")
FULL = ContainerSpec(
    name="x",
    image="agent:latest",
    environment={"TZ": "Europe/Berlin", "A": "b=c"},
    mounts=(
        VolumeMount(host_path=Path("/a:b"), container_path="/workspace/a", readonly=True),
        VolumeMount(host_path=Path("/c"), container_path="/workspace/c", readonly=False),
    ),
    labels={"nanoclaw.group": "family"},
    user=Owner(uid=1234, gid=5678),
    network="none",
    memory=64 * 1024**2,
    cpus=0.5,
    pids_limit=50,
    read_only=True,
)


def test_hardening():
    """Trap A15. Each container is without capabilities and privileges, log and pulled image."""
    host = create_document(PLAIN, selinux=False)["HostConfig"]
    assert host == {
        "AutoRemove": True,
        "RestartPolicy": {"Name": "no"},
        "Init": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "LogConfig": {"Type": "none"},
        "NetworkMode": "default",
        "Mounts": [],
        "PidsLimit": 512,
    }


def test_all_of_it():
    """Everything that a spec has is in it, and no path is cut at a colon. Trap A16."""
    document = create_document(FULL, selinux=True)
    host = document.pop("HostConfig")
    assert document == {
        "Image": "agent:latest",
        "Env": ["TZ=Europe/Berlin", "A=b=c", "HOME=/home/node"],
        "Labels": {"nanoclaw.group": "family"},
        "User": "1234:5678",
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
    }
    mount = {"Type": "bind", "Source": "/a:b", "Target": "/workspace/a", "ReadOnly": True}
    assert host["Mounts"][0] == mount
    assert host["Mounts"][1]["ReadOnly"] is False
    assert host["SecurityOpt"] == ["no-new-privileges", "label=disable"]
    assert (host["Memory"], host["MemorySwap"]) == (64 * 1024**2, 64 * 1024**2)
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 50)
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert set(host["Tmpfs"]) == {"/tmp", "/home/node"}
    assert set(host["Tmpfs"].values()) == {"rw,exec,nosuid,nodev,mode=1777"}


def test_a_path_that_is_not_text():
    """A path that isn't UTF-8 fails the start, and nothing is sent."""
    path = Path("/\udcff")
    mount = VolumeMount(host_path=path, container_path="/w", readonly=True)
    spec = ContainerSpec(name="x", image="i", mounts=(mount,))
    with pytest.raises(StartFailed, match="isn't UTF-8: rename the file"):
        encode(spec, create_document(spec, selinux=False))
