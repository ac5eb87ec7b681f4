"""The command line that builds an image."""

from __future__ import annotations

from pathlib import Path

from nanoclaw_trio.runtimes.apple import AppleRuntime
from nanoclaw_trio.runtimes.build_arguments import BuildSpec, build_arguments
from nanoclaw_trio.runtimes.docker import DockerRuntime
from nanoclaw_trio.runtimes.podman import PodmanRuntime

APPLES_OPTIONS = {"--progress", "--no-cache", "--tag", "--build-arg", "--label"}
"""Those of `container build` in its command reference that are used here."""

SPEC = BuildSpec(
    image="a:b",
    context=Path("/c d"),
    arguments={"BASE_IMAGE": "x"},
    labels={"k": "v"},
    use_cache=False,
)


def test_every_part_is_an_argument_of_its_own():
    """A space in a path or a value needs no quoting, since there is no shell."""
    assert build_arguments(SPEC, ("--force-rm",)) == [
        *("build", "--force-rm", "--no-cache", "--tag", "a:b"),
        *("--build-arg", "BASE_IMAGE=x", "--label", "k=v", "/c d"),
    ]


def test_nothing_but_a_name_and_a_place():
    """What isn't asked for isn't named."""
    spec = BuildSpec(image="a:b", context=Path("/c"))
    assert build_arguments(spec) == ["build", "--tag", "a:b", "/c"]


def test_options_of_the_engines():
    """Docker and podman leave no container of a failed step; Apple's builder draws no bar."""
    assert DockerRuntime.build_options == PodmanRuntime.build_options == ("--force-rm",)
    words = build_arguments(SPEC, AppleRuntime.build_options)
    assert {word for word in words if word.startswith("-")} == APPLES_OPTIONS
