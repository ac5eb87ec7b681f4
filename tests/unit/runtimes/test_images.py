"""Images: what engines say of them, and the command that builds one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanoclaw_trio.runtimes.images import (
    CONTENT_LABEL,
    PROTOCOL_LABEL,
    PROTOCOL_VERSION,
    ImageFacts,
    build_command,
    protocol_of,
    read_image,
)
from nanoclaw_trio.testing import images as registry_free

DIGEST = "sha256:0a1b"
LABELS = {"nanoclaw.protocol": "1"}

APPLE_VARIANT = {"size": 7, "platform": {"os": "linux"}, "config": {"config": {"Labels": LABELS}}}


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (
            [{"Id": DIGEST, "Size": 7, "Config": {"Labels": LABELS, "Env": []}}],
            ImageFacts(id=DIGEST, size=7, labels=LABELS),
        ),
        ([{"Id": DIGEST, "Size": 7, "Config": {"Labels": None}}], ImageFacts(id=DIGEST, size=7)),
        (
            [{"Id": "0a1b", "Size": 7, "Labels": LABELS, "Config": {}}],
            ImageFacts(id="0a1b", size=7, labels=LABELS),
        ),
        (
            [{"name": "i", "index": {"digest": DIGEST, "size": 3}, "variants": [APPLE_VARIANT]}],
            ImageFacts(id=DIGEST, size=7, labels=LABELS),
        ),
        (
            {"configuration": {"descriptor": {"digest": DIGEST}}, "variants": [APPLE_VARIANT]},
            ImageFacts(id=DIGEST, size=7, labels=LABELS),
        ),
        ([{"Id": 3, "Size": "7", "Config": [], "variants": []}], ImageFacts()),
        ([{"Labels": {"a": 1}}], ImageFacts(labels={"a": "1"})),
        ([], ImageFacts()),
        ("text", ImageFacts()),
    ],
    ids=["docker", "no labels", "podman", "apple", "later apple", "odd", "number", "[]", "text"],
)
def test_read_image(answer, facts):
    """Each engine's answer is understood, and what isn't in it isn't known."""
    assert read_image(json.dumps(answer)) == facts


def test_read_image_of_no_json():
    """Garbage says nothing of an image, and is no error: the exit status says that it is there."""
    assert read_image("<html>") == ImageFacts()


@pytest.mark.parametrize(
    ("labels", "version"), [({}, "1"), ({PROTOCOL_LABEL: "1"}, "1"), ({PROTOCOL_LABEL: "2"}, "2")]
)
def test_protocol_of(labels, version):
    """An image without a label is one of the original's, whose protocol is the first."""
    assert protocol_of(ImageFacts(labels=labels)) == version


@pytest.mark.parametrize(
    ("image", "program", "project", "command"),
    [
        ("nanoclaw-agent:latest", "docker", None, "python -m nanoclaw_trio build"),
        (
            "a:b",
            "podman",
            Path("/srv/my chat"),
            "python -m nanoclaw_trio build --runtime podman --tag a:b --project '/srv/my chat'",
        ),
    ],
)
def test_build_command(image, program, project, command):
    """The command names what isn't the default, as a shell takes it."""
    assert build_command(image, program=program, project=project) == command


def test_the_images_that_are_made_here_have_these_labels(container_directory):
    """The Dockerfile and the registry-free image name the version that this host speaks."""
    label = f"LABEL {PROTOCOL_LABEL}={PROTOCOL_VERSION}"
    assert label in (container_directory / "Dockerfile").read_text().splitlines()
    assert label in registry_free.CHANGES
    assert registry_free.CONTENT_LABEL == CONTENT_LABEL


@pytest.fixture
def container_directory():
    """The project's container/."""
    return Path(__file__).parents[3] / "container"
