"""The command line."""

from __future__ import annotations

import json

import click
import pytest

from nanoclaw_trio import __version__
from nanoclaw_trio.cli import main
from nanoclaw_trio.cli.command_line import run_command_line
from nanoclaw_trio.cli.commands import AGENTS, RUNTIMES, cli
from nanoclaw_trio.runtimes.choose import RUNTIME_NAMES
from nanoclaw_trio.settings import Settings


def test_every_runtime_can_be_named():
    """The command offers what there is, without importing it."""
    assert RUNTIMES == RUNTIME_NAMES


def test_every_agent_can_be_named(settings):
    """The settings' own agent is among those that can be named, and so is the echo."""
    assert Settings(project_root=settings.project_root).agent in AGENTS
    assert "echo" in AGENTS


def test_version(capsys):
    """The version goes to standard output."""
    assert run_command_line(["--version"], []) == 0
    assert capsys.readouterr().out == f"nanoclaw-trio {__version__}\n"


def all_commands(group=cli, path=()):
    """The words of each command and group."""
    yield list(path)
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        else:
            yield [*path, name]


def is_group(words):
    """Whether these words need another one."""
    return not words or (isinstance(cli.commands[words[0]], click.Group) and len(words) == 1)


@pytest.mark.parametrize("words", list(all_commands()), ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(capsys, words, option):
    """Each command explains itself."""
    assert run_command_line([*words, option], []) == 0
    assert capsys.readouterr().out.startswith(f"Usage: {' '.join(['nanoclaw-trio', *words])} ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nanoclaw-trio: Missing command (`nanoclaw-trio --help`"),
        (["nothing"], "nanoclaw-trio: No such command 'nothing'"),
        (["mounts"], "nanoclaw-trio mounts: Missing command"),
        (["run", "--nothing"], "nanoclaw-trio run: No such option"),
        (["run", "a", "b"], "nanoclaw-trio run: Got unexpected extra argument"),
        (["run", "--runtime", "lxc", "x"], "nanoclaw-trio run: Invalid value for '--runtime'"),
        (["run", "--agent", "parrot", "x"], "nanoclaw-trio run: Invalid value for '--agent'"),
        (["run", "--timeout", "soon", "x"], "nanoclaw-trio run: Invalid value for '--timeout'"),
        (["run", "--timeout", "0", "x"], "nanoclaw-trio run: Invalid value for '--timeout'"),
        (["run", "--timeout", "nan", "x"], "nanoclaw-trio run: Invalid value for '--timeout'"),
        (["run", "--timeout", "inf", "x"], "nanoclaw-trio run: Invalid value for '--timeout'"),
        (
            ["run", "--credential-proxy", "on", "x"],
            "nanoclaw-trio run: Invalid value for '--credential-proxy'",
        ),
        (["run", "--image", "--privileged", "x"], "nanoclaw-trio run: Invalid value for '--image'"),
        (["run", "--image", "", "x"], "nanoclaw-trio run: Invalid value for '--image'"),
        (["run", "--image", "a b", "x"], "nanoclaw-trio run: Invalid value for '--image'"),
        *(
            (
                [*words, "--project", ""],
                f"nanoclaw-trio {' '.join(words)}: Invalid value for '--pro",
            )
            for words in (
                ["run"],
                ["chat"],
                ["build"],
                ["serve"],
                ["reap"],
                ["mounts", "check"],
                ["groups", "list"],
                ["tasks", "list"],
                ["journal", "check"],
            )
        ),
        (["run", "x", "--input", "-"], "nanoclaw-trio run: PROMPT and --input exclude each other"),
        (["chat", "-"], "nanoclaw-trio chat: chat reads its messages from standard input itself"),
        (["chat", "--input", "-"], "nanoclaw-trio chat: chat reads its messages from standard"),
        (["mounts", "init", "x"], "nanoclaw-trio mounts init: Got unexpected extra argument"),
        (["mounts", "check", "a", "b"], "nanoclaw-trio mounts check: Got unexpected extra"),
        (["groups"], "nanoclaw-trio groups: Missing command"),
        (["groups", "add", "tg:1"], "nanoclaw-trio groups add: Missing argument 'FOLDER'"),
        (["groups", "remove"], "nanoclaw-trio groups remove: Missing argument 'FOLDER'"),
        (
            ["groups", "add", "-100123", "x"],
            "nanoclaw-trio groups add: -100123 is no option; write -- before a chat's address that",
        ),
        (["groups", "add", "tg:1", "x", "--nothing"], "nanoclaw-trio groups add: No such option"),
        (
            ["tasks", "runs", "t1", "--limit", "10001"],
            "nanoclaw-trio tasks runs: Invalid value for '--limit': 10001 is not in the range",
        ),
        (["tasks", "pause"], "nanoclaw-trio tasks pause: Missing argument 'ID'"),
        (["tasks", "runs", "t", "--limit", "0"], "nanoclaw-trio tasks runs: Invalid value for"),
        (["tasks", "add", "family", "x"], "nanoclaw-trio tasks add: give one of --cron, --every"),
        (
            ["tasks", "add", "family", "x", "--every", "9", "--at", "2026-02-01T00:00"],
            "nanoclaw-trio tasks add: give one of --cron, --every and --at",
        ),
        (["tasks", "add", "f", "x", "--every", "0"], "nanoclaw-trio tasks add: Invalid value for"),
        (
            ["serve", "--socket", "s", "--no-socket"],
            "nanoclaw-trio serve: --socket and --no-socket exclude each other",
        ),
        (
            ["serve", "--no-socket", "--no-terminal"],
            "nanoclaw-trio serve: without a socket and without a terminal there is nobody to serve",
        ),
        (["serve", "--limit", "0"], "nanoclaw-trio serve: Invalid value for '--limit'"),
        (["serve", "--drain", "-1"], "nanoclaw-trio serve: Invalid value for '--drain'"),
        (["reap", "--runtime", "lxc"], "nanoclaw-trio reap: Invalid value for '--runtime'"),
    ],
)
def test_bad_usage(capsys, arguments, said):
    """What can't be understood is one line on standard error, and exit status 2."""
    assert run_command_line(arguments, []) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(said)


@pytest.mark.parametrize("command", ["run", "chat"])
def test_bad_usage_as_json(capsys, command):
    """With --json the last line is there whatever goes wrong."""
    assert run_command_line([command, "--json", "--timeout", "x"], []) == 2
    end = json.loads(capsys.readouterr().out)
    assert (end["type"], end["status"], end["cause"]) == ("end", "error", "bad_input")
    assert "--timeout" in end["error"]


def test_a_file_named_json_isnt_the_option(capsys):
    """Only what runs an agent has an ending to write."""
    assert run_command_line(["mounts", "check", "--json", "--nothing"], []) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["groups", "list"], 0),
        (["groups", "add", "tg:1", "family"], 0),
        (["groups", "show", "family"], 2),
        (["groups", "remove", "family"], 2),
        (["tasks", "list"], 0),
        (["tasks", "add", "family", "x", "--every", "60"], 2),
        (["tasks", "pause", "t1"], 2),
        (["tasks", "resume", "t1"], 2),
        (["tasks", "cancel", "t1"], 2),
        (["tasks", "runs", "t1"], 2),
        (["journal", "check"], 0),
        (["reap", "--runtime", "docker"], 3),
        (["serve", "--runtime", "docker", "--socket", "s"], 3),
    ],
)
def test_each_command_is_called(capfd, monkeypatch, tmp_path, words, status):
    """Each command does its work in this process's world, and gives its exit status back."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run_command_line([*words, "--project", str(tmp_path)], []) == status
    assert bool(capfd.readouterr().err) is (status != 0)


COMMANDS = [words for words in all_commands() if not is_group(words)]


def arguments_of(words):
    """Something for each argument that a command must have."""
    command = cli
    for word in words:
        command = command.commands[word]
    needed = [each for each in command.params if isinstance(each, click.Argument) and each.required]
    return ["x"] * len(needed)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_can_fail(capfd, tmp_path, words):
    """Trap B12. Each command that can't do its work, here without a project, ends with a status
    that isn't 0, and says why."""
    arguments = [*words, *arguments_of(words), "--project", str(tmp_path / "nowhere")]
    assert run_command_line(arguments, []) != 0
    assert capfd.readouterr().err.startswith("nanoclaw-trio")


def test_main_takes_the_command_line(capsys, monkeypatch, handlers):
    """The entry point reads the process's arguments, unless it is given others."""
    monkeypatch.setattr("sys.argv", ["nanoclaw-trio", "--version"])
    assert main() == 0
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nanoclaw-trio {__version__}\n" * 2


def test_an_address_that_begins_with_a_minus(capfd, monkeypatch, tmp_path):
    """Behind -- a chat's address may look like an option."""
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["groups", "add", "--", "-100123", "family"], []) == 0
    assert capfd.readouterr().out == "family answers in -100123\n"
