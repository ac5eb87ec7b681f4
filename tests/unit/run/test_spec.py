"""From a group to the container that is asked for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.run.spec import container_name, make_spec
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.testing.fake import FakeRuntime, echo_agent
from nanoclaw_trio.workspace.folders import GroupPaths
from nanoclaw_trio.workspace.prepare import Workspace
from nanoclaw_trio.workspace.secrets import Secrets

reproducible = settings(derandomize=True, deadline=None)

MOMENT = datetime(2026, 2, 1, 15, 30, 0, 123456, tzinfo=UTC)
KEY = "sk-ant-api03-0123456789abcdef"


@pytest.mark.parametrize(
    ("folder", "safe"),
    [
        ("family", "family"),
        ("Family-2", "Family-2"),
        ("my_group", "my-group"),
        ("a_b-c_d", "a-b-c-d"),
        ("x" * 64, "x" * 64),
    ],
)
def test_container_name(folder, safe):
    """A name has the folder, made safe, the milliseconds, and what makes it unique."""
    milliseconds = round(datetime(2026, 2, 1, 15, 30, tzinfo=UTC).timestamp() * 1000) + 123
    assert container_name(folder, MOMENT, "0badcafe") == f"nanoclaw-{safe}-{milliseconds}-0badcafe"


def test_names_in_one_millisecond():
    """Trap A14. Two runs of a group in one millisecond have names of their own."""
    names = {container_name("family", MOMENT, unique) for unique in ("00000000", "00000001")}
    assert len(names) == 2


@reproducible
@given(st.text(max_size=80), st.integers(0, 10**10))
def test_a_container_name_is_safe(folder, seconds):
    """Whatever the folder, the name is one that every runtime takes, and no option."""
    name = container_name(
        folder, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds), "1f"
    )
    assert re.fullmatch(r"nanoclaw-[a-zA-Z0-9-]*-[0-9]+-1f", name)


class OtherUser(FakeRuntime):
    """A runtime whose containers run as the host's user."""

    def process_user(self):
        """The user to run as."""
        return Owner(uid=1234, gid=5678)


@pytest.fixture
def workspace(settings):
    """A workspace with a mount and a key."""
    paths = GroupPaths(project_root=settings.project_root, folder="family")
    return Workspace(
        paths=paths,
        mounts=(
            VolumeMount(
                host_path=paths.group_dir, container_path="/workspace/group", readonly=False
            ),
        ),
        decisions=(),
        warnings=(),
        install_id="0123456789abcdef0123456789abcdef",
        secrets=Secrets({"ANTHROPIC_API_KEY": KEY}),
    )


@pytest.fixture
def spec_with(workspace, settings):
    """The spec that these settings make."""

    def make(*, kind=FakeRuntime, **changes):
        return make_spec(
            "c1",
            workspace,
            settings=evolve(settings, **changes),
            runtime=kind(echo_agent, None),
            owner_label="host:1:2",
        )

    return make


def test_by_default(spec_with, workspace):
    """Nothing but the zone is in the environment; the limits are the settings'."""
    assert spec_with(timezone="Europe/Berlin") == ContainerSpec(
        name="c1",
        image="nanoclaw-agent:latest",
        environment={"TZ": "Europe/Berlin"},
        mounts=workspace.mounts,
        labels={
            "nanoclaw.install": workspace.install_id,
            "nanoclaw.group": "family",
            "nanoclaw.owner": "host:1:2",
        },
        user=None,
        network="default",
        memory=None,
        cpus=None,
        pids_limit=512,
    )


@pytest.mark.parametrize(
    ("setting", "value", "field"),
    [
        ("container_image", "mine:1", "image"),
        ("network", "none", "network"),
        ("memory", 2**30, "memory"),
        ("cpus", 1.5, "cpus"),
        ("pids_limit", 64, "pids_limit"),
        ("read_only", True, "read_only"),
    ],
)
def test_what_the_settings_say(spec_with, setting, value, field):
    """Trap A15. Image, network and limits come from the settings."""
    assert getattr(spec_with(**{setting: value}), field) == value


@pytest.mark.parametrize(("agent", "variable"), [("claude", None), ("echo", "echo")])
def test_which_agent(spec_with, agent, variable):
    """The agent is named only where it isn't the usual one."""
    assert spec_with(agent=agent).environment.get("NANOCLAW_AGENT") == variable


def test_whose_user(spec_with):
    """The user is the runtime's to say."""
    assert spec_with(kind=OtherUser).user == Owner(uid=1234, gid=5678)


def test_no_secret_is_asked_for(spec_with):
    """Trap A17. Nothing of a secret is in what the runtime is given."""
    assert KEY not in repr(spec_with())
