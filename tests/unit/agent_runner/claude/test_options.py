"""What the SDK and its CLI are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoclaw_agent.agents.claude.options import ALLOWED_TOOLS, DISALLOWED_TOOLS, make_options
from nanoclaw_agent.secrets import Secrets

NO_SECRETS = Secrets({})


@pytest.fixture
def options(make_surroundings):
    """The options in surroundings with these changes."""

    def make(secrets=NO_SECRETS, resume=None, resume_at=None, **changes):
        surroundings = make_surroundings(**changes)
        return make_options(surroundings, secrets, resume=resume, resume_at=resume_at)

    return make


def test_options_fit_the_sdk(options, claude_sdk, tmp_path):
    """The SDK knows each of them, and nobody is asked for a permission."""
    found = claude_sdk.ClaudeAgentOptions(**options())
    assert found.cwd == str(tmp_path / "group")
    assert found.permission_mode == "bypassPermissions"
    assert found.setting_sources == ["project", "user"]
    assert found.max_buffer_size == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("resume", "resume_at", "told"),
    [
        (None, None, (None, None)),
        ("abc", None, ("abc", None)),
        ("abc", "words", ("abc", "words")),
        (None, "words", (None, None)),
    ],
)
def test_session_goes_on_where_it_was(options, resume, resume_at, told):
    """A new session has no last words to go on after."""
    found = options(resume=resume, resume_at=resume_at)
    assert (found["resume"], found["resume_session_at"]) == told


@pytest.mark.parametrize(
    ("memory", "arguments"),
    [
        (None, {}),
        (Path("/workspace/global/CLAUDE.md"), "/workspace/global/CLAUDE.md"),
    ],
)
def test_memory_is_added_to_the_system_prompt(options, memory, arguments):
    """The CLI's own prompt stays; what all groups are told comes after it, by the file's path."""
    found = options(memory=memory)
    assert found["system_prompt"] == {"type": "preset", "preset": "claude_code"}
    assert found["extra_args"] == (arguments and {"append-system-prompt-file": arguments})


def test_extra_directories_are_added(options):
    """In their order, as texts."""
    assert options(extra=(Path("/a"), Path("/b")))["add_dirs"] == ["/a", "/b"]


def test_tools_are_either_allowed_or_not(options):
    """No tool is in both lists; the chat's own are allowed, schedules that are forgotten aren't."""
    found = options()
    assert not set(found["allowed_tools"]) & set(found["disallowed_tools"])
    assert set(found["allowed_tools"]) == set(ALLOWED_TOOLS) >= {"Bash", "mcp__nanoclaw__*"}
    assert set(found["disallowed_tools"]) == set(DISALLOWED_TOOLS) >= {"CronCreate"}


ALWAYS = {
    "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
    "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
}


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, {}),
        ({"is_root": True}, {"IS_SANDBOX": "1"}),
        ({"shell": Path("/bin/our-bash")}, {"CLAUDE_CODE_SHELL": "/bin/our-bash"}),
        ({"secrets": Secrets({"KEY": "canary"})}, {"KEY": "canary"}),
        ({"secrets": Secrets({"IS_SANDBOX": "0"}), "is_root": True}, {"IS_SANDBOX": "0"}),
    ],
)
def test_environment_of_the_cli(options, changes, more):
    """Secrets reach the CLI's environment, and so does what there is to make use of."""
    found = options(**{"is_root": False} | changes)
    assert found["env"] == ALWAYS | more


@pytest.mark.parametrize("cli", [None, Path("/x/claude")])
def test_another_cli_takes_the_place_of_the_sdks(options, cli):
    """Without one, the SDK starts its own."""
    assert options(cli=cli)["cli_path"] == cli
