"""How far a group's container is confined, and who may say so."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.protocol.models import AdditionalMount, ContainerConfig
from nanoclaw_trio.settings import Settings
from nanoclaw_trio.workspace.confinement import (
    CONFINEMENT,
    confined,
    find_misfits,
    find_widening,
    with_confinement,
)

reproducible = settings(derandomize=True, deadline=None)

MOUNTS = (AdditionalMount(host_path="~/notes"),)

configs = st.none() | st.builds(
    ContainerConfig,
    network=st.sampled_from([None, "none", "default", "host", "lan"]),
    memory=st.none() | st.integers(1, 9),
    cpus=st.none() | st.sampled_from([0.5, 1.0, 2.0]),
    read_only=st.sampled_from([None, False, True]),
    timeout=st.none() | st.integers(1, 9),
)


@pytest.fixture
def project(tmp_path):
    """A project's settings, confined."""
    return Settings(
        project_root=tmp_path, network="none", memory=100, cpus=2.0, read_only=True, pids_limit=7
    )


@pytest.mark.parametrize("config", [None, ContainerConfig(), ContainerConfig(timeout=5)])
def test_without_a_word_the_settings_hold(project, config):
    """A group that says nothing of its confinement has the project's."""
    assert confined(project, config) == project


def test_a_group_of_its_own(project):
    """What a group's configuration says stands in the settings' place, and nothing else changes."""
    config = ContainerConfig(network="lan", memory=5, cpus=0.5, read_only=False, timeout=9)
    expected = evolve(project, network="lan", memory=5, cpus=0.5, read_only=False)
    assert confined(project, config) == expected


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (ContainerConfig(timeout=0), "less than 1 @ $.x.timeout"),
        (ContainerConfig(network=""), "not a network's name @ $.x.network"),
        (ContainerConfig(network="-v"), "not a network's name @ $.x.network"),
        (ContainerConfig(network="a b"), "not a network's name @ $.x.network"),
        (ContainerConfig(network="a\n"), "not a network's name @ $.x.network"),
        (ContainerConfig(network="a,b=c"), "not a network's name @ $.x.network"),
        (ContainerConfig(memory=0), "less than 1 @ $.x.memory"),
        (ContainerConfig(cpus=0.0), "less than 0.01 @ $.x.cpus"),
        (ContainerConfig(cpus=-1.0), "less than 0.01 @ $.x.cpus"),
        # Docker makes a quota of 0 of it, and that is no limit.
        (ContainerConfig(cpus=0.000001), "less than 0.01 @ $.x.cpus"),
    ],
)
def test_what_nobody_could_mean(config, problem):
    """Each value that makes no sense is named by its place."""
    assert list(find_misfits(config, "$.x")) == [problem]


def test_what_makes_sense():
    """Good values have no problem."""
    config = ContainerConfig(network="host", memory=1, cpus=0.1, read_only=False, timeout=1)
    assert list(find_misfits(config, "$")) == []


NETWORK = "only the operator may widen a group's network"
MEMORY = "only the operator may widen a group's memory"
CPUS = "only the operator may widen a group's cpus"
TIMEOUT = "only the operator may widen a group's timeout"
READ_ONLY = "only the operator may widen a group's read-only"


@pytest.mark.parametrize(
    ("asked", "held", "refusal"),
    [
        ({}, {}, None),
        ({}, {"network": "none", "memory": 5, "read_only": True}, None),
        ({"network": "none", "read_only": True}, {}, None),
        ({"network": "none"}, {"network": "lan"}, None),
        ({"network": "lan"}, {"network": "lan"}, None),
        ({"network": "lan"}, {}, NETWORK),
        ({"network": "host"}, {}, NETWORK),
        ({"network": "host"}, {"network": "none"}, NETWORK),
        ({"network": "default"}, {"network": "none"}, NETWORK),
        ({"network": "default"}, {}, NETWORK),
        ({"memory": 5}, {"memory": 5}, None),
        ({"memory": 4}, {"memory": 5}, None),
        ({"memory": 6}, {"memory": 5}, MEMORY),
        ({"memory": 1}, {}, MEMORY),
        ({"cpus": 0.5}, {"cpus": 1.0}, None),
        ({"cpus": 1.5}, {"cpus": 1.0}, CPUS),
        ({"cpus": 0.5}, {}, CPUS),
        ({"timeout": 9}, {}, None),
        ({"timeout": 5}, {"timeout": 5}, None),
        ({"timeout": 4}, {"timeout": 5}, None),
        ({"timeout": 6}, {"timeout": 5}, TIMEOUT),
        ({"read_only": True}, {"read_only": False}, None),
        ({"read_only": False}, {"read_only": False}, None),
        ({"read_only": False}, {"read_only": True}, READ_ONLY),
        ({"read_only": False}, {}, READ_ONLY),
    ],
)
def test_an_agent_may_narrow_and_not_widen(asked, held, refusal):
    """What an agent asks for is compared with what holds; without a word the settings do."""
    assert find_widening(ContainerConfig(**asked), ContainerConfig(**held)) == refusal
    if not held:
        assert find_widening(ContainerConfig(**asked), None) == refusal


def test_nothing_asked_is_nothing_widened():
    """A registration without a configuration asks for nothing, and what holds stays."""
    assert find_widening(None, ContainerConfig(network="none")) is None
    assert with_confinement(None, ContainerConfig(network="none")) is None


def test_what_an_agent_does_not_mention_stays():
    """Mounts are the agent's to ask for; the operator's network isn't lost by leaving it out."""
    held = ContainerConfig(network="none", memory=5, timeout=7)
    asked = ContainerConfig(additional_mounts=MOUNTS, memory=4)
    assert with_confinement(asked, held) == ContainerConfig(
        additional_mounts=MOUNTS, network="none", memory=4, timeout=7
    )
    assert with_confinement(asked, None) == asked


@reproducible
@given(asked=configs, held=configs)
def test_no_request_is_wider_than_what_held(asked, held):
    """Whatever an agent asks for: refused, or as narrow in each respect as before."""
    if asked is None or find_widening(asked, held) is not None:
        return
    before, after = held or ContainerConfig(), with_confinement(asked, held)
    assert before.timeout is None or after.timeout <= before.timeout
    for name in CONFINEMENT:
        was, now = getattr(before, name), getattr(after, name)
        if now == was or (name, now) in {("network", "none"), ("read_only", True)}:
            continue
        assert was is not None
        assert now < was
