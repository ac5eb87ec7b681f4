"""`mounts`, in memory."""

from __future__ import annotations

import json
import signal

import pytest
from attrs import evolve

from nanoclaw_trio.cli.mounts import CheckOptions, check_command, init_command, read_config
from nanoclaw_trio.errors import InvalidFile


@pytest.fixture
def options(settings):
    """The options of a plain `mounts check` in an empty project."""
    return CheckOptions(
        group="main", project=settings.project_root, main=None, config=None, as_json=False
    )


@pytest.fixture
def allowlist(tmp_path):
    """The place of the allowlist under this test's home."""
    return tmp_path / "home/.config/nanoclaw/mount-allowlist.json"


@pytest.fixture
def config(tmp_path):
    """Write a containerConfig that asks for mounts."""

    def write(*mounts, **others):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"additionalMounts": list(mounts), **others}))
        return path

    return write


async def test_init_writes_a_template(make_desk, allowlist):
    """The template is where the engine looks for it, and where that is, is said."""
    desk = make_desk()
    assert await init_command(desk.world) == 0
    assert desk.written() == f"{allowlist}\n"
    assert "allowedRoots" in json.loads(allowlist.read_text())


async def test_init_overwrites_nothing(make_desk, allowlist):
    """An allowlist that is there is left as it is, whatever is in it."""
    allowlist.parent.mkdir(parents=True)
    allowlist.write_text("mine")
    desk = make_desk()
    assert await init_command(desk.world) == 2
    assert (allowlist.read_text(), desk.written()) == ("mine", "")
    assert desk.said() == [f"{allowlist} is there already and was left as it is"]


async def test_check_explains_the_main_groups_mounts(make_desk, options):
    """Every mount has a line with its place inside, its place on the host, its mode and why."""
    desk = make_desk()
    assert await check_command(options, desk.world) == 0
    lines = desk.written().splitlines()
    root = options.project
    assert f"yes  /workspace/project = {root}, read-only: the main group reads the project" in lines
    assert (
        f"yes  /workspace/group = {root}/groups/main, read-write: the group's own folder" in lines
    )
    assert "no   /workspace/global: the main group reads it in the project" in lines


@pytest.mark.parametrize(
    ("group", "main", "is_main"), [("family", None, False), ("family", True, True)]
)
async def test_check_knows_the_main_group(make_desk, options, group, main, is_main):
    """A group is the main one by its name, or because it is said to be."""
    desk = make_desk()
    assert await check_command(evolve(options, group=group, main=main), desk.world) == 0
    assert ("yes  /workspace/project" in desk.written()) is is_main


async def test_check_as_json(make_desk, options):
    """One object a line, for programs."""
    desk = make_desk()
    assert await check_command(evolve(options, as_json=True), desk.world) == 0
    records = {record["containerPath"]: record for record in desk.records()}
    assert records["/workspace/group"] == {
        "type": "mount",
        "hostPath": f"{options.project}/groups/main",
        "containerPath": "/workspace/group",
        "readonly": False,
        "allowed": True,
        "reason": "the group's own folder",
    }


async def test_check_explains_additional_mounts(make_desk, options, config, allowlist, tmp_path):
    """A mount that the allowlist permits and one that it doesn't, each with its reason."""
    (tmp_path / "shared").mkdir()
    allowlist.parent.mkdir(parents=True)
    allowlist.write_text(
        json.dumps(
            {
                "allowedRoots": [{"path": str(tmp_path / "shared"), "allowReadWrite": False}],
                "blockedPatterns": [],
                "nonMainReadOnly": True,
            }
        )
    )
    path = config({"hostPath": str(tmp_path / "shared")}, {"hostPath": str(options.project)})
    desk = make_desk()
    assert await check_command(evolve(options, config=path), desk.world) == 1
    allowed, refused = desk.written().splitlines()[-2:]
    assert allowed.startswith(f"yes  /workspace/extra/shared = {tmp_path}/shared, read-only: ")
    assert refused.startswith(f"no   {options.project}: ")


async def test_check_explains_a_root_that_does_not_count(
    make_desk, options, config, allowlist, tmp_path
):
    """Trap A28. A root in another group's folder that its agent has sent elsewhere opens nothing."""
    root = options.project / "groups" / "friends" / "shared"
    root.parent.mkdir(parents=True)
    root.symlink_to(tmp_path)
    allowlist.parent.mkdir(parents=True)
    allowlist.write_text(
        json.dumps(
            {
                "allowedRoots": [{"path": str(root), "allowReadWrite": True}],
                "blockedPatterns": [],
                "nonMainReadOnly": False,
            }
        )
    )
    (tmp_path / "private").mkdir()
    path = config({"hostPath": str(root / "private"), "readonly": False})
    desk = make_desk()
    assert await check_command(evolve(options, config=path), desk.world) == 1
    refused = desk.written().splitlines()[-1]
    assert refused.startswith(f"no   {root}/private: {tmp_path}/private lies under no allowed root")
    assert f"{root} doesn't count: it leads through {root.parent}" in refused


async def test_check_without_an_allowlist(make_desk, options, config, tmp_path):
    """Every additional mount is refused, and the exit status says so."""
    desk = make_desk()
    path = config({"hostPath": str(tmp_path)})
    assert await check_command(evolve(options, config=path), desk.world) == 1
    assert "there is no allowlist at" in desk.written()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file"),
        ("{", "not JSON"),
        ('{"additionalMount": []}', "additionalMount"),
        (
            '{"additionalMounts": [{"hostPath": 1}]}',
            "not a string @ $.additionalMounts[0].hostPath",
        ),
    ],
)
async def test_a_configuration_that_cant_be_used(make_desk, options, tmp_path, content, problem):
    """The file is named, and the place in it."""
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    desk = make_desk()
    assert await check_command(evolve(options, config=path), desk.world) == 2
    (line,) = desk.said()
    assert line.startswith(f"{path}: ")
    assert problem in line


async def test_a_configuration_that_cant_be_read(make_desk, options, tmp_path):
    """A directory is no file."""
    desk = make_desk()
    assert await check_command(evolve(options, config=tmp_path), desk.world) == 2
    assert desk.said() == [f"{tmp_path}: Is a directory; name another"]


@pytest.mark.parametrize("change", [{"group": "../x"}, {"project": "/nowhere"}])
async def test_bad_usage(make_desk, options, change):
    """A name that isn't allowed and a project that isn't there are said in one line."""
    desk = make_desk()
    assert await check_command(evolve(options, **change), desk.world) == 2
    assert (len(desk.said()), desk.written()) == (1, "")


async def test_a_terminal_is_protected(make_desk, options, config):
    """A path that somebody else wrote doesn't steer the terminal of who checks it."""
    path = config({"hostPath": "/x\x1b[2J"})
    desk = make_desk(stdout_is_terminal=True)
    await check_command(evolve(options, config=path), desk.world)
    assert "/x␛[2J" in desk.written()


async def test_a_signal(make_desk, options):
    """Checking is ended by a signal, too."""
    desk = make_desk()
    desk.world.interruption.receive(signal.SIGTERM)
    assert await check_command(options, desk.world) == 143


@pytest.mark.parametrize("timeout", [0, -5000])
def test_a_timeout_that_is_none(tmp_path, timeout):
    """A container's timeout is at least a millisecond, and the path to one that isn't is said."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"timeout": timeout}))
    with pytest.raises(InvalidFile, match=r"less than 1 @ \$\.timeout"):
        read_config(path)
    path.write_text(json.dumps({"timeout": 1}))
    assert read_config(path).timeout == 1
