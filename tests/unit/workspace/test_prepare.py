"""The workspace on the disk: made, mended, repeated, and never through a planted link."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from nanoclaw_trio.errors import (
    GroupBusy,
    InvalidFile,
    InvalidGroupFolder,
    InvalidSetting,
    ProjectNotFound,
    UnsafePath,
    WorkspaceFailed,
)
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import ContainerConfig, RegisteredGroup
from nanoclaw_trio.workspace.claim import GroupClaim
from nanoclaw_trio.workspace.prepare import explain_mounts, prepare_workspace

CANARY = "sk-ant-canary-4711"


@pytest.fixture
def family():
    """A group that asks for no additional mounts."""
    return RegisteredGroup(name="Family", folder="family")


@pytest.fixture
def prepare(nanoclaw_settings, family, project):
    """Prepare the group's workspace."""

    def run(*, is_main=False, group=family, **values):
        return prepare_workspace(group, is_main=is_main, settings=nanoclaw_settings, **values)

    return run


def snapshot(root):
    """Everything below a directory, by what tells versions apart."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        found[path.relative_to(root).as_posix()] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_ino,
            status.st_mtime_ns,
        )
    return found


@contextmanager
def claimed(paths):
    """Have the group, once nobody else has it."""
    claim = GroupClaim(paths.project_root, paths.folder, container="c", moment=datetime.now(UTC))
    while True:
        with suppress(GroupBusy):
            claim.take()
            break
    yield
    claim.release()


def mounted(workspace):
    """Where things are inside."""
    return [mount.container_path for mount in workspace.mounts]


class TestMade:
    def test_directories(self, prepare, paths):
        """Everything that is mounted is there, and everything that the mailbox needs."""
        workspace = prepare()
        assert workspace.paths == paths
        for mount in workspace.mounts:
            assert mount.host_path.is_dir()
        assert paths.logs_dir.is_dir()
        assert sorted(path.name for path in paths.ipc_dir.iterdir()) == [
            "input",
            "messages",
            "tasks",
        ]
        assert workspace.warnings == ()

    def test_settings(self, prepare, paths):
        """.claude/settings.json is byte for byte what the original writes."""
        prepare()
        assert (paths.claude_dir / "settings.json").read_text() == (
            "{\n"
            '  "env": {\n'
            '    "CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS": "1",\n'
            '    "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",\n'
            '    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "0"\n'
            "  }\n"
            "}\n"
        )

    def test_settings_are_the_groups_own_then(self, prepare, paths):
        """Written only if missing."""
        prepare()
        (paths.claude_dir / "settings.json").write_text("{}")
        prepare()
        assert (paths.claude_dir / "settings.json").read_text() == "{}"

    def test_runner_is_copied_once(self, prepare, paths):
        """The group's copy is its own to change: no newer one of the host's replaces it."""
        prepare()
        copy = paths.runner_dir / "agent" / "__main__.py"
        assert copy.read_text() == "print('hello')\n"
        copy.write_text("changed")
        (paths.project_root / "container/agent-runner/src/new.py").write_text("")
        assert f"{paths.runner_dir} was changed by the group" in prepare().warnings[0]
        assert copy.read_text() == "changed"
        assert [path.name for path in paths.runner_dir.iterdir()] == ["agent"]

    def test_a_runner_that_nobody_changed_is_replaced(self, prepare, paths):
        """After an upgrade a group has the new one, whatever Python made of the old one."""
        prepare()
        (paths.runner_dir / "agent" / "__pycache__").mkdir()
        (paths.project_root / "container/agent-runner/src/new.py").write_text("")
        (paths.project_root / "container/agent-runner/src/agent/__main__.py").write_text("2")
        assert prepare().warnings == ()
        assert sorted(path.name for path in paths.runner_dir.iterdir()) == ["agent", "new.py"]
        assert (paths.runner_dir / "agent" / "__main__.py").read_text() == "2"
        assert prepare().warnings == ()

    @pytest.mark.parametrize("record", [None, b"{", b'{"source": 3}'])
    def test_a_runner_of_unknown_origin_is_the_groups(self, prepare, paths, record):
        """Without a record of what was copied nothing is replaced, and what to do is said."""
        prepare()
        place = paths.sessions_dir / "agent-runner.json"
        place.unlink()
        if record is not None:
            place.write_bytes(record)
        (paths.project_root / "container/agent-runner/src/new.py").write_text("")
        assert "never was the host's" in prepare().warnings[0]
        assert [path.name for path in paths.runner_dir.iterdir()] == ["agent"]

    def test_a_changed_runner_is_no_matter_while_the_hosts_is_the_same(self, prepare, paths):
        """A group that works on its own copy isn't told so at each run."""
        prepare()
        (paths.runner_dir / "mine.py").write_text("")
        assert prepare().warnings == ()
        assert (paths.runner_dir / "mine.py").exists()

    def test_a_crash_between_the_copy_and_its_record(self, prepare, paths):
        """A copy that is the host's is known to be that again, and is replaced after an upgrade."""
        prepare()
        (paths.sessions_dir / "agent-runner.json").unlink()
        prepare()
        (paths.project_root / "container/agent-runner/src/new.py").write_text("")
        prepare()
        assert (paths.runner_dir / "new.py").exists()

    def test_a_group_with_a_copy_needs_no_source(self, prepare, paths):
        """Where the host's source can't be read, a group that has its copy starts all the same."""
        prepare()
        source = paths.project_root / "container/agent-runner/src"
        (source / "agent" / "__main__.py").unlink()
        (source / "agent").rmdir()
        source.rmdir()
        source.symlink_to(source)
        assert prepare().warnings == ()

    def test_an_empty_runner_is_copied_again(self, prepare, paths):
        """An agent that removed its own source can't keep the group from starting."""
        prepare()
        shutil.rmtree(paths.runner_dir / "agent")
        prepare()
        assert (paths.runner_dir / "agent" / "__main__.py").exists()

    def test_runner_of_the_package(self, prepare, project, paths):
        """A project without an agent-runner gets the one that is shipped."""
        shutil.rmtree(project / "container")
        prepare()
        assert (paths.runner_dir / "nanoclaw_agent" / "__main__.py").is_file()

    def test_links_in_the_runner(self, prepare, project, paths):
        """What is left out of the copy is said."""
        (project / "container/agent-runner/src/out").symlink_to("/etc")
        assert "is a link that leaves" in prepare().warnings[0]
        assert not (paths.runner_dir / "out").is_symlink()

    def test_skills(self, prepare, project, paths):
        """The host's skills are in the group's .claude."""
        (project / "container" / "skills" / "cook").mkdir()
        (project / "container" / "skills" / "cook" / "SKILL.md").write_text("how to")
        prepare()
        assert (paths.claude_dir / "skills" / "cook" / "SKILL.md").read_text() == "how to"

    def test_install_id(self, prepare, family):
        """All groups of a project have one id."""
        other = prepare(group=evolve(family, folder="other"))
        assert prepare().install_id == other.install_id

    @pytest.mark.parametrize("is_main", [True, False])
    def test_repeated_without_a_change(self, prepare, project, is_main):
        """A second time nothing on the disk is touched."""
        (project / "container" / "skills" / "cook").mkdir()
        (project / "container" / "skills" / "cook" / "SKILL.md").write_text("how to")
        first = prepare(is_main=is_main)
        before = snapshot(project)
        second = prepare(is_main=is_main)
        assert snapshot(project) == before
        assert second.mounts == first.mounts
        assert second.install_id == first.install_id

    def test_many_at_once(self, prepare, paths):
        """Of many that want one group at once each gets a whole workspace, in its turn."""
        barrier, made, failed = threading.Barrier(6), [], []

        def run():
            barrier.wait()
            try:
                with claimed(paths):
                    made.append(prepare())
            except BaseException as error:  # noqa: BLE001 - counted below
                failed.append(error)

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len({workspace.install_id for workspace in made}) == 1
        assert sorted(path.name for path in paths.sessions_dir.iterdir()) == [
            ".claude",
            "agent-runner-src",
            "agent-runner.json",
        ]


class TestMain:
    def test_env_is_hidden(self, prepare, project):
        """The main group sees the project, an empty folder over the engine's data but for what is
        the agents' own in there, and /dev/null over its keys."""
        (project / ".env").write_text(f"ANTHROPIC_API_KEY={CANARY}\n")
        mounts = prepare(is_main=True).mounts
        data, inside = project / "data", "/workspace/project/data"
        assert [(str(m.host_path), m.container_path, m.readonly) for m in mounts[:5]] == [
            (str(project), "/workspace/project", True),
            (str(data / "cover"), inside, True),
            (str(data / "ipc"), f"{inside}/ipc", True),
            (str(data / "sessions"), f"{inside}/sessions", True),
            ("/dev/null", "/workspace/project/.env", True),
        ]

    def test_the_cover_has_nothing_but_names(self, prepare, project):
        """What lies over the engine's data holds the two empty folders that others are mounted on."""
        prepare(is_main=True)
        cover = project / "data" / "cover"
        assert sorted(cover.rglob("*")) == [cover / "ipc", cover / "sessions"]

    def test_where_files_cannot_be_mounted(self, prepare, project):
        """The project stays out rather than its keys being seen, and a warning says so."""
        (project / ".env").write_text(f"ANTHROPIC_API_KEY={CANARY}\n")
        workspace = prepare(is_main=True, mounts_files=False)
        assert "/workspace/project" not in mounted(workspace)
        (warning,) = workspace.warnings
        assert warning.startswith("/workspace/project isn't mounted: the project has a .env")
        assert prepare(is_main=False, mounts_files=False).warnings == ()

    def test_global_is_the_others(self, prepare, paths):
        """groups/global is seen by all but the main group."""
        paths.global_dir.mkdir(parents=True)
        assert "/workspace/global" in mounted(prepare())
        assert "/workspace/global" not in mounted(prepare(is_main=True))


class TestSecrets:
    def test_read_and_not_shown(self, prepare, project):
        """They are read when a run starts, and are on no disk, in no repr and in no mount."""
        (project / ".env").write_text(f"ANTHROPIC_API_KEY={CANARY}\n")
        workspace = prepare(is_main=True)
        assert workspace.secrets.reveal()["ANTHROPIC_API_KEY"] == CANARY
        assert CANARY not in repr(workspace)
        for path in project.rglob("*"):
            if path.is_file() and path.name != ".env":
                assert CANARY not in path.read_text()

    def test_read_anew(self, prepare, project):
        """A key that was changed is the next run's."""
        (project / ".env").write_text("ANTHROPIC_API_KEY=first\n")
        prepare()
        (project / ".env").write_text("ANTHROPIC_API_KEY=second\n")
        assert prepare().secrets.reveal()["ANTHROPIC_API_KEY"] == "second"

    def test_a_broken_env_makes_nothing(self, prepare, project, paths):
        """A .env that can't be read is an error before anything is made."""
        (project / ".env").write_bytes(b"\xff")
        with pytest.raises(InvalidSetting):
            prepare()
        assert not paths.groups_dir.exists()
        assert not paths.data_dir.exists()


class TestAdditionalMounts:
    @pytest.fixture
    def asking(self, family, ask):
        """The group, asking for these mounts."""
        return lambda *mounts: evolve(
            family,
            container_config=ContainerConfig(
                additional_mounts=tuple(ask(*mount) for mount in mounts)
            ),
        )

    def test_allowed_and_refused(self, prepare, asking, tmp_path, write_allowlist):
        """The allowed are mounted as what they lead to, the refused become warnings."""
        (tmp_path / "shared" / "notes").mkdir(parents=True)
        (tmp_path / "shared" / "link").symlink_to("notes")
        write_allowlist({tmp_path / "shared": False})
        missing = str(tmp_path / "missing")
        group = asking([tmp_path / "shared" / "link"], [missing], ["relative"])
        workspace = prepare(group=group)
        assert [decision.allowed for decision in workspace.decisions] == [True, False, False]
        assert workspace.mounts[-1].host_path == tmp_path / "shared" / "notes"
        assert workspace.mounts[-1].container_path == "/workspace/extra/link"
        assert workspace.warnings == (
            f"{missing!r} isn't mounted: the host path can't be used: No such file or directory",
            "'relative' isn't mounted: the host path is neither absolute nor starts with ~",
        )

    def test_without_an_allowlist(self, prepare, asking, tmp_path, nanoclaw_settings):
        """All are refused, and the reason names the file that is missing."""
        workspace = prepare(group=asking([tmp_path]))
        assert not workspace.decisions[0].allowed
        assert str(nanoclaw_settings.allowlist_path) in workspace.warnings[0]

    def test_the_allowlist_is_not_read_for_nobody(self, prepare, nanoclaw_settings):
        """A group that asks for nothing isn't bothered by a broken allowlist."""
        nanoclaw_settings.allowlist_path.parent.mkdir()
        nanoclaw_settings.allowlist_path.write_text("{")
        assert prepare().warnings == ()

    @pytest.mark.parametrize("is_main", [True, False])
    @pytest.mark.parametrize(
        "place",
        [
            "config",
            "config/allowlist.json",
            "config/sub",
            ".",
            "project",
            "project/data",
            "project/data/ipc/other",
            "project/groups",
            "project/.env",
            "keys",
            "/proc/self",
            "/dev/shm",
            "/",
        ],
    )
    def test_never_mounted(
        self, prepare, asking, tmp_path, write_allowlist, project, is_main, place
    ):
        """Trap A27. Configuration, project, data, groups and keys stay out, even under a root."""
        (tmp_path / "keys").write_text("ANTHROPIC_API_KEY=x\n")
        (project / ".env").symlink_to(tmp_path / "keys")
        (project / "groups").mkdir()
        (project / "data" / "ipc" / "other").mkdir(parents=True)
        (tmp_path / "config" / "sub").mkdir(parents=True)
        write_allowlist({"/": True})
        workspace = prepare(is_main=is_main, group=asking([tmp_path / place, "x"]))
        assert not workspace.decisions[0].allowed
        assert "/workspace/extra/x" not in mounted(workspace)

    @pytest.mark.parametrize("kind", ["socket", "pipe"])
    def test_sockets_and_pipes(self, prepare, asking, tmp_path, write_allowlist, plant, kind):
        """Trap A27. A runtime's socket is never handed to an agent."""
        plant(tmp_path / "engine", kind)
        write_allowlist({tmp_path: True})
        workspace = prepare(group=asking([tmp_path / "engine"]))
        assert workspace.decisions[0].reason.startswith(f"the host path is a {kind}")

    @pytest.mark.usefixtures("project")
    def test_explained(self, asking, nanoclaw_settings, tmp_path, write_allowlist):
        """Every mount of a group and why, and nothing is made for it."""
        (tmp_path / "shared").mkdir()
        write_allowlist({tmp_path / "shared": False})
        before = snapshot(tmp_path)
        explained = explain_mounts(
            asking([tmp_path / "shared"], ["/etc"]), is_main=False, settings=nanoclaw_settings
        )
        assert snapshot(tmp_path) == before
        assert [(row.container_path, row.allowed) for row in explained] == [
            ("/workspace/project", False),
            ("/workspace/group", True),
            ("/workspace/global", False),
            ("/home/node/.claude", True),
            ("/workspace/ipc", True),
            ("/app/src", True),
            ("/workspace/extra/shared", True),
            (None, False),
        ]
        assert explained[-2].reason == f"under {tmp_path / 'shared'}; read-only, as asked"
        assert explained[-1].host_path == "/etc"


PLANTED = ["link", "dangling link", "pipe", "socket", "file"]


class TestPlanted:
    @pytest.mark.parametrize("kind", PLANTED)
    @pytest.mark.parametrize("name", ["input", "messages", "tasks"])
    def test_in_the_mailbox(self, prepare, paths, plant, name, kind):
        """Trap A28. A planted mailbox directory is made again, with a warning."""
        prepare()
        (paths.ipc_dir / name).rmdir()
        plant(paths.ipc_dir / name, kind)
        assert prepare().warnings == (
            f"{paths.ipc_dir / name} was no directory; it was made again",
        )
        assert stat.S_ISDIR((paths.ipc_dir / name).lstat().st_mode)
        assert prepare().warnings == ()

    @pytest.mark.parametrize("kind", PLANTED)
    def test_in_place_of_the_logs(self, prepare, paths, plant, kind):
        """Traps A12 and A28. The run log never goes where an agent pointed it."""
        prepare()
        paths.logs_dir.rmdir()
        plant(paths.logs_dir, kind)
        assert prepare().warnings == (f"{paths.logs_dir} was no directory; it was made again",)
        assert not paths.logs_dir.is_symlink()

    @pytest.mark.parametrize("kind", [*PLANTED[:-1], "directory"])
    def test_in_place_of_the_settings(self, prepare, paths, plant, kind):
        """Trap A28. What isn't a regular file is written again, and never followed."""
        prepare()
        settings = paths.claude_dir / "settings.json"
        settings.unlink()
        plant(settings, kind)
        assert prepare().warnings == (f"{settings} was no regular file; it was written again",)
        assert "CLAUDE_CODE" in json.loads(settings.read_text())["env"].popitem()[0]
        assert not settings.is_symlink()

    @pytest.mark.parametrize("kind", PLANTED)
    def test_in_the_runner(self, prepare, paths, plant, kind):
        """The group's own source is left alone, whatever the agent made of it."""
        prepare()
        plant(paths.runner_dir / "odd", kind)
        assert prepare().warnings == ()
        assert os.path.lexists(paths.runner_dir / "odd")

    @pytest.mark.parametrize("kind", PLANTED)
    def test_elsewhere(self, prepare, paths, plant, kind):
        """Other things in the agent's hands are its own."""
        prepare()
        for directory in (paths.group_dir, paths.ipc_dir, paths.claude_dir):
            plant(directory / "odd", kind)
        assert prepare().warnings == ()

    def test_hard_links(self, prepare, paths):
        """A second name of the host's file doesn't get what the host writes next."""
        prepare()
        settings = paths.claude_dir / "settings.json"
        os.link(settings, paths.claude_dir / "second")
        settings.unlink()
        (paths.claude_dir / "second").write_text("agent's")
        prepare()
        assert (paths.claude_dir / "second").read_text() == "agent's"

    @pytest.mark.parametrize("place", ["groups/family", "data/ipc/family", "data/sessions/family"])
    def test_a_link_out_of_its_base(self, prepare, project, tmp_path, place):
        """A group's own directory that leads out of the project is an error, and nothing is made."""
        (project / place).parent.mkdir(parents=True)
        (project / place).symlink_to(tmp_path)
        before = snapshot(tmp_path)
        with pytest.raises(UnsafePath, match=place):
            prepare()
        assert snapshot(tmp_path) == before

    def test_a_link_within_its_base(self, prepare, paths):
        """A group's folder that the operator linked to another group's is used."""
        (paths.groups_dir / "other").mkdir(parents=True)
        paths.group_dir.symlink_to("other")
        prepare()
        assert (paths.groups_dir / "other" / "logs").is_dir()


class TestOwner:
    def owners(self, root):
        """Whose everything below a directory is, itself included."""
        return {(p.lstat().st_uid, p.lstat().st_gid) for p in (root, *root.rglob("*"))}

    def test_what_the_agent_must_change_is_its_own(self, prepare, project, paths, agent):
        """The host is root: all that is mounted read-write belongs to the agent, the rest doesn't."""
        (project / "container" / "skills" / "cook").mkdir()
        (project / "container" / "skills" / "cook" / "SKILL.md").write_text("how to")
        (project / "container" / "skills" / "cook" / "alias").symlink_to("SKILL.md")
        prepare(owner=agent)
        for root in (paths.group_dir, paths.ipc_dir, paths.claude_dir, paths.runner_dir):
            assert self.owners(root) == {(1000, 1001)}
        for path in (
            paths.groups_dir,
            paths.data_dir,
            paths.sessions_dir,
            paths.sessions_dir.parent,
        ):
            assert path.stat().st_uid == 0
        assert (paths.sessions_dir / "skills.json").stat().st_uid == 0

    def test_the_agent_can_change_it(self, prepare, project, paths, agent):
        """As that user, files can be made, replaced and removed in each of the directories."""
        project.parent.chmod(0o755)
        prepare(owner=agent)
        directories = [
            os.open(path, os.O_RDONLY)
            for path in (paths.input_dir, paths.claude_dir, paths.runner_dir, paths.group_dir)
        ]
        os.setegid(agent.gid)
        os.seteuid(agent.uid)
        try:
            for directory in directories:
                os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
                os.unlink("file", dir_fd=directory)
        finally:
            os.seteuid(0)
            os.setegid(0)
            for directory in directories:
                os.close(directory)

    def test_what_was_there_is_given_away_once(self, prepare, paths, agent):
        """A tree from before is given whole; then only what is made is, as the rest is the agent's."""
        prepare()
        (paths.group_dir / "notes").mkdir()
        (paths.group_dir / "notes" / "file").write_text("")
        (paths.group_dir / "link").symlink_to("/etc")
        prepare(owner=agent)
        assert self.owners(paths.group_dir) == {(1000, 1001)}
        assert Path("/etc").stat().st_uid == 0
        (paths.group_dir / "hosts").write_text("the operator's")
        prepare(owner=agent)
        assert (paths.group_dir / "hosts").stat().st_uid == 0

    def test_a_directory_that_a_crash_left_roots(self, prepare, paths, agent):
        """A mailbox directory that was made and not given is given the next time."""
        prepare(owner=agent)
        os.chown(paths.input_dir, 0, 0)
        prepare(owner=agent)
        assert self.owners(paths.ipc_dir) == {(1000, 1001)}

    def test_planted_links_are_not_given_away(self, prepare, paths, tmp_path, agent):
        """Trap A28. Nothing outside changes hands by way of a link."""
        (tmp_path / "outside").mkdir()
        prepare()
        paths.logs_dir.rmdir()
        paths.logs_dir.symlink_to(tmp_path / "outside")
        (paths.claude_dir / "odd").symlink_to(tmp_path / "outside")
        prepare(owner=agent)
        assert (tmp_path / "outside").stat().st_uid == 0


@contextmanager
def as_user(uid):
    """Be another user for a while, without root's way around modes."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


class TestAnotherUser:
    @pytest.fixture
    def theirs(self, nanoclaw_settings):
        """Settings of an empty project of user 1000, where that user can go."""
        place = Path(tempfile.mkdtemp())
        if os.geteuid() == 0:
            os.chown(place, 1000, 1000)
        yield evolve(nanoclaw_settings, project_root=place)
        shutil.rmtree(place)

    def test_a_host_that_is_not_root(self, theirs, family):
        """An ordinary user prepares a workspace for an agent that runs with the same number."""
        with as_user(1000):
            workspace = prepare_workspace(family, is_main=True, settings=theirs)
        assert workspace.warnings == ()
        assert {path.lstat().st_uid for path in theirs.project_root.rglob("*")} == {1000}

    def test_access_that_the_agent_took_away(self, theirs, family):
        """Trap A28. An agent with the host's own number can't close the mailbox to it."""
        with as_user(1000):
            paths = prepare_workspace(family, is_main=False, settings=theirs).paths
            for path in (paths.input_dir, paths.ipc_dir, paths.claude_dir, paths.group_dir):
                path.chmod(0o000)
            assert prepare_workspace(family, is_main=False, settings=theirs).warnings == ()
            (paths.input_dir / "message").write_text("")

    def test_who_may_not_give_away(self, theirs, family):
        """A host that isn't root and is told to give files away gets a clear error."""
        with as_user(1000), pytest.raises(WorkspaceFailed, match="Operation not permitted"):
            prepare_workspace(
                family, is_main=False, settings=theirs, owner=Owner(uid=1234, gid=1234)
            )

    def test_no_access_to_the_project(self, theirs, family):
        """What the host may not write is named, and the message says what to do."""
        os.chown(theirs.project_root, 0, 0)
        theirs.project_root.chmod(0o755)
        with as_user(1000), pytest.raises(WorkspaceFailed, match="mend its permissions"):
            prepare_workspace(family, is_main=False, settings=theirs)


class TestErrors:
    def test_bad_name(self, prepare, project):
        """A group's name that isn't allowed makes nothing."""
        before = snapshot(project)
        with pytest.raises(InvalidGroupFolder):
            prepare(group=RegisteredGroup(name="x", folder="../x"))
        assert snapshot(project) == before

    def test_no_project(self, prepare, project):
        """A project that isn't there isn't made."""
        shutil.rmtree(project)
        with pytest.raises(ProjectNotFound, match="project"):
            prepare()
        assert not project.exists()

    @pytest.mark.parametrize(
        ("place", "named"),
        [
            ("groups", "groups/family"),
            ("groups/family", "groups/family"),
            ("data", "data"),
            ("data/ipc", "data/ipc/family"),
            ("data/sessions", "data/sessions/family"),
            ("data/sessions/family", "data/sessions/family"),
        ],
    )
    def test_a_file_in_place_of_the_hosts_own_directory(self, prepare, project, place, named):
        """What is in the way where no agent comes is an error that names it."""
        (project / place).parent.mkdir(parents=True, exist_ok=True)
        (project / place).write_bytes(b"")
        with pytest.raises((WorkspaceFailed, UnsafePath), match=named):
            prepare()

    def test_full_disk(self, prepare, project, paths, limited_files):
        """An error names the place, nothing half done stays, and the next time all is well."""
        (project / "container/agent-runner/src/large.py").write_bytes(b"x" * 5000)
        with limited_files(3000), pytest.raises(WorkspaceFailed, match="File too large") as caught:
            prepare()
        assert caught.value.path == paths.sessions_dir
        assert [path.name for path in paths.sessions_dir.iterdir()] == [".claude"]
        assert not list(project.rglob("*.tmp"))
        prepare()
        assert (paths.runner_dir / "large.py").stat().st_size == 5000

    def test_full_from_the_start(self, prepare, project, limited_files):
        """An empty file under a final name is never left."""
        with limited_files(0), pytest.raises(WorkspaceFailed, match="data can't be prepared"):
            prepare()
        assert [path for path in (project / "data").rglob("*") if path.is_file()] == []

    def test_broken_install_id(self, prepare, project, paths):
        """A broken record is an error before any directory of the group is made."""
        (project / "data").mkdir()
        (project / "data" / "install-id").write_text("{}")
        with pytest.raises(InvalidFile):
            prepare()
        assert not paths.group_dir.exists()

    def test_a_file_in_place_of_the_runner(self, prepare, paths):
        """The entry itself is the host's: what is there wasn't made by an agent, and stays."""
        paths.sessions_dir.mkdir(parents=True)
        paths.runner_dir.write_text("?")
        with pytest.raises(UnsafePath, match="agent-runner-src"):
            prepare()
        assert paths.runner_dir.read_text() == "?"
