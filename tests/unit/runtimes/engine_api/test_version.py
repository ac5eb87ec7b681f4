"""Which version of the API is spoken."""

from __future__ import annotations

import pytest

from nanoclaw_trio.runtimes.engine_api.version import (
    EngineVersion,
    choose_version,
    read_version,
)


def engine(api, oldest=None):
    """An engine that speaks these."""
    return EngineVersion(number="1", api=api, oldest_api=oldest, is_podman=False)


@pytest.mark.parametrize(
    ("speaks", "chosen"),
    [
        (engine("1.41", "1.12"), "1.41"),
        (engine("1.40"), "1.40"),
        (engine("1.51", "1.24"), "1.51"),
        (engine("1.52", "1.44"), "1.51"),
        (engine("2.0", "1.44"), "1.51"),
        (engine("1.41"), "1.41"),
    ],
)
def test_the_newest_of_both(speaks, chosen):
    """It is the newest version that the engine and the host know."""
    assert choose_version(speaks) == chosen


@pytest.mark.parametrize(
    ("speaks", "words"),
    [
        (engine("1.39", "1.12"), r"up to 1\.39 and 1\.40 is needed: update the engine"),
        (engine("1.60", "1.52"), r"from 1\.52 on .* up to 1\.51: use the engine's client"),
    ],
)
def test_no_common_version(speaks, words):
    """Without a version that both know, the error says who is behind and what to do."""
    with pytest.raises(ValueError, match=words):
        choose_version(speaks)


def test_docker():
    """Docker's answer, as it was seen."""
    document = {
        "Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}],
        "Version": "20.10.24+dfsg1",
        "ApiVersion": "1.41",
        "MinAPIVersion": "1.12",
    }
    assert read_version(document) == EngineVersion(
        number="20.10.24+dfsg1", api="1.41", oldest_api="1.12", is_podman=False
    )


def test_podman():
    """Podman's answer, as it was seen."""
    document = {
        "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}],
        "Version": "4.3.1",
        "ApiVersion": "1.41",
    }
    version = read_version(document)
    assert version.is_podman
    assert version.oldest_api is None


@pytest.mark.parametrize("document", [None, [], {}, {"Version": "1"}, {"ApiVersion": "1.41"}, "x"])
def test_no_version(document):
    """What isn't an engine's version is an error."""
    with pytest.raises(ValueError, match="no engine's version"):
        read_version(document)
