"""Command lines of the container engines, as tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.arguments import (
    identity_arguments,
    mount_arguments,
    network_arguments,
)


def spec(**fields):
    """A spec with a name and an image, and what matters."""
    return ContainerSpec(**{"name": "nanoclaw-a-1", "image": "image:tag", **fields})


def mount(host, container="/workspace/group", *, readonly=False):
    """A mount."""
    return VolumeMount(host_path=Path(host), container_path=container, readonly=readonly)


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({}, []),
        ({"environment": {"TZ": "UTC"}}, ["-e", "TZ=UTC"]),
        (
            {"environment": {"TZ": "UTC"}, "user": Owner(uid=501, gid=20)},
            ["--user", "501:20", "-e", "TZ=UTC", "-e", "HOME=/home/node"],
        ),
        (
            {"environment": {"HOME": "/root"}, "user": Owner(uid=501, gid=20)},
            ["--user", "501:20", "-e", "HOME=/root"],
        ),
        (
            {"environment": {"A": "b=c d"}, "labels": {"nanoclaw.group": "main", "x": ""}},
            ["-e", "A=b=c d", "--label", "nanoclaw.group=main", "--label", "x="],
        ),
    ],
)
def test_identity(fields, arguments):
    """The name comes first, then user, variables and labels; another user gets a home."""
    assert identity_arguments(spec(**fields)) == ["--name", "nanoclaw-a-1", *arguments]


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        ("default", []),
        ("none", ["--network", "none"]),
        ("host", ["--network", "host"]),
        ("mine", ["--network", "mine"]),
    ],
)
def test_network(network, arguments):
    """The engine's own default network isn't named."""
    assert network_arguments(spec(network=network)) == arguments


@pytest.mark.parametrize(
    ("given_mount", "value"),
    [
        (mount("/a"), "type=bind,source=/a,target=/workspace/group"),
        (mount("/a", "/b", readonly=True), "type=bind,source=/a,target=/b,readonly"),
        (mount("/a:b", "/c:d"), "type=bind,source=/a:b,target=/c:d"),
        (mount("/a b=c", "/d"), "type=bind,source=/a b=c,target=/d"),
        (mount("/a,b", "/c"), 'type=bind,"source=/a,b",target=/c'),
        (mount('/a"b', "/c"), 'type=bind,"source=/a""b",target=/c'),
        (mount('/a,"b', "/c,d", readonly=True), 'type=bind,"source=/a,""b","target=/c,d",readonly'),
        (mount("/ä€", "/c"), "type=bind,source=/ä€,target=/c"),
    ],
)
def test_quoted_mounts(given_mount, value):
    """A mount is one line of CSV, in which any character of a path has its place. Trap A16."""
    arguments = mount_arguments(spec(mounts=(given_mount,)), forbidden="\r\n", quoted=True)
    assert arguments == ["--mount", value]


def test_unquoted_mounts():
    """An engine that can't quote gets the bare fields."""
    mounts = (mount("/a", "/b"), mount("/c", "/d", readonly=True))
    assert mount_arguments(spec(mounts=mounts), forbidden=",=", quoted=False) == [
        *("--mount", "type=bind,source=/a,target=/b"),
        *("--mount", "type=bind,source=/c,target=/d,readonly"),
    ]


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize(
    "bad_mount",
    [mount("/a\nb"), mount("/a", "/b\nc"), mount("/a\udcff"), mount("/a", "/\udc80")],
)
def test_mounts_that_cannot_be_expressed(bad_mount, quoted):
    """A path that no argument can carry is refused, naming it, before anything starts."""
    with pytest.raises(StartFailed, match=r"nanoclaw-a-1 .* can't mount '/.*rename it"):
        mount_arguments(spec(mounts=(bad_mount,)), forbidden="\r\n", quoted=quoted)


PATHS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\n"), min_size=1)


@given(host=PATHS, container=PATHS)
def test_a_line_of_csv_is_read_back_whole(host, container):
    """Whatever the paths, a reader of CSV finds the same fields again."""
    (_, value) = mount_arguments(
        spec(mounts=(mount(f"/{host}", container),)), forbidden="\r\n", quoted=True
    )
    assert next(csv.reader([value])) == [
        "type=bind",
        f"source={Path(f'/{host}')}",
        f"target={container}",
    ]
