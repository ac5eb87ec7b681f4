"""The command line of a sandbox, decided from a spec and a description of the host."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_trio.errors import StartFailed
from nanoclaw_trio.files import Owner
from nanoclaw_trio.protocol.models import VolumeMount
from nanoclaw_trio.runtimes.abc import ContainerSpec
from nanoclaw_trio.runtimes.bubblewrap_argv import (
    default_environment,
    parse_marks,
    parse_mounted_marks,
    python_command,
    sandbox_argv,
    seen_at,
    shown_directories,
)
from nanoclaw_trio.runtimes.bubblewrap_host import Bind, Host, HostPython, HostSystem, Link

SYSTEM = HostSystem(
    links=(Link(path="/bin", target="usr/bin"),),
    binds=(
        Bind(source="/usr", target="/usr"),
        Bind(source="/run/real.conf", target="/etc/resolv.conf"),
    ),
    proc_read_only=("/proc/sys",),
    proc_hidden=("/proc/keys",),
)
DEBIAN = HostPython(
    executable="/usr/bin/python3",
    links=(Link(path="/usr/bin/python3", target="/usr/bin/python3.11"),),
    prefix="/usr",
    base_prefix="/usr",
    real_base_prefix="/usr",
)
DEBIAN_ENVIRONMENT = evolve(
    DEBIAN,
    executable="/srv/bot/.venv/bin/python",
    links=(Link(path="/srv/bot/.venv/bin/python", target="/usr/bin/python3"),),
    prefix="/srv/bot/.venv",
)
VERSION_MANAGER = HostPython(
    executable="/srv/venv/bin/python",
    links=(
        Link(path="/srv/venv/bin/python", target="/srv/venv/bin/python3"),
        Link(path="/srv/venv/bin/python3", target="/home/me/.local/bin/python3.12"),
        Link(path="/home/me/.local/bin/python3.12", target="/home/me/py/3.12/bin/python3.12"),
    ),
    prefix="/srv/venv",
    base_prefix="/home/me/py/3.12",
    real_base_prefix="/home/me/py/3.12.4",
)
OWN_BUILD = HostPython(
    executable="/home/me/bin/python3",
    links=(Link(path="/home/me/bin/python3", target="/opt/python/bin/python3"),),
    prefix="/opt/python",
    base_prefix="/opt/python",
    real_base_prefix="/opt/python",
    package_directories=("/home/me/.local/lib/python3.12/site-packages",),
)
SPEC = ContainerSpec(name="nanoclaw-x-1", image="ignored", labels={"b": "2", "a": "1"})


def make_argv(spec=SPEC, python=DEBIAN):
    """The command line for a spec on a host with this Python."""
    return sandbox_argv("/bw", spec, Host(system=SYSTEM, python=python), timezone="Europe/Berlin")


def joined(argv):
    """A command line as one string, each argument with a space on either side."""
    return f" {' '.join(argv)} "


def test_the_whole_command_line():
    """The command line of a plain sandbox is this one."""
    assert joined(make_argv()) == (
        " /bw --clearenv --setenv NANOCLAW_CONTAINER nanoclaw-x-1"
        ' --setenv NANOCLAW_LABELS {"a": "1", "b": "2"}'
        " --unshare-user --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup-try"
        " --disable-userns --die-with-parent --new-session --cap-drop ALL --hostname nanoclaw"
        " --uid 1000 --gid 1000 --ro-bind /dev/null /.nanoclaw/"
        "WyJuYW5vY2xhdy14LTEiLCB7ImIiOiAiMiIsICJhIjogIjEifV0="
        " --symlink usr/bin /bin --ro-bind /usr /usr --ro-bind /run/real.conf /etc/resolv.conf"
        " --proc /proc --perms 0555 --tmpfs /proc/1 --remount-ro /proc/1 --dev /dev --ro-bind /proc/sys /proc/sys --ro-bind /dev/null /proc/keys"
        " --perms 1777 --tmpfs /tmp --tmpfs /run --tmpfs /var --perms 1777 --dir /var/tmp"
        " --tmpfs /home --dir /home/node --tmpfs /workspace --dir /workspace/group --dir /app/src"
        " --remount-ro / --setenv HOME /home/node"
        " --setenv PATH /usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        " --setenv LANG C.UTF-8 --setenv TZ Europe/Berlin"
        " --setenv CLAUDE_CONFIG_DIR /home/node/.claude --setenv PYTHONPATH /app/src"
        " --setenv PYTHONDONTWRITEBYTECODE 1 --chdir /workspace/group"
        " -- /usr/bin/python3 -P -m nanoclaw_agent "
    )


LAUNCHED = [
    # setsid, prlimit, what its limit may be at most, the spec's; what stands before the Python
    (None, None, None, 512, ""),
    ("/usr/bin/setsid", None, None, 512, "/usr/bin/setsid "),
    (None, "/bin/prlimit", None, 512, "/bin/prlimit --nproc=512:512 -- "),
    (None, "/bin/prlimit", 1000, 512, "/bin/prlimit --nproc=512:512 -- "),
    (None, "/bin/prlimit", 100, 512, "/bin/prlimit --nproc=100:100 -- "),
    ("/bin/setsid", "/bin/prlimit", None, 9, "/bin/setsid /bin/prlimit --nproc=9:9 -- "),
]


@pytest.mark.parametrize(("setsid", "prlimit", "most", "limit", "before"), LAUNCHED)
def test_how_the_agent_is_started(setsid, prlimit, most, limit, before):
    """It gets a session of its own, and as many processes as its spec and the host allow, by what
    programs the system has for that."""
    system = evolve(SYSTEM, setsid=setsid, prlimit=prlimit, most_processes=most)
    argv = sandbox_argv(
        "/bw",
        evolve(SPEC, pids_limit=limit),
        Host(system=system, python=DEBIAN),
        timezone="Europe/Berlin",
    )
    assert joined(argv).endswith(f" -- {before}/usr/bin/python3 -P -m nanoclaw_agent ")


def test_a_filter_is_read_from_its_descriptor():
    """A filter of system calls is named by its descriptor, behind the name and the labels."""
    argv = sandbox_argv(
        "/bw", SPEC, Host(system=SYSTEM, python=DEBIAN), timezone="Europe/Berlin", seccomp=7
    )
    assert " --hostname nanoclaw --seccomp 7 --uid 1000 " in joined(argv)
    assert parse_marks(argv) == (SPEC.name, SPEC.labels)
    at = argv.index("--seccomp")
    assert argv[:at] + argv[at + 2 :] == make_argv()


def test_covers_lie_on_top():
    """What is to cover something comes after all the mounts, and can't be written to."""
    mounts = (VolumeMount(host_path=Path("/data"), container_path="/opt", readonly=False),)
    argv = sandbox_argv(
        "/bw",
        evolve(SPEC, mounts=mounts),
        Host(system=SYSTEM, python=DEBIAN),
        timezone="UTC",
        covers=(Bind(source="/cache/x", target="/opt/x"),),
    )
    assert " --bind /data /opt --ro-bind /cache/x /opt/x --remount-ro / " in joined(argv)


@pytest.mark.parametrize(
    ("python", "path", "expected"),
    [
        (DEBIAN, "/usr/lib/python3/dist-packages/x", "/usr/lib/python3/dist-packages/x"),
        (DEBIAN, "/srv/bot/x", None),
        (DEBIAN, "", None),
        (DEBIAN_ENVIRONMENT, "/srv/bot/.venv/lib/x", "/opt/venv/lib/x"),
        (DEBIAN_ENVIRONMENT, "/srv/bot/.venv", "/opt/venv"),
        (DEBIAN_ENVIRONMENT, "/srv/bot/.venv2/x", None),
        (DEBIAN_ENVIRONMENT, "/usr/lib/x", "/usr/lib/x"),
        (VERSION_MANAGER, "/home/me/py/3.12/lib/x", "/home/me/py/3.12/lib/x"),
        (VERSION_MANAGER, "/home/me/py/3.12.4/lib/x", "/home/me/py/3.12.4/lib/x"),
        (OWN_BUILD, "/home/me/.local/lib/python3.12/site-packages/x", "/opt/packages/0/x"),
        (OWN_BUILD, "/opt/python/lib/x", "/opt/python/lib/x"),
        (OWN_BUILD, "/home/me/.local/bin/x", None),
    ],
)
def test_where_a_sandbox_sees_a_file(python, path, expected):
    """A file of the Python's is where its directory is bound, or isn't there."""
    assert seen_at(path, python) == expected


@pytest.mark.parametrize(
    ("network", "cut_off"), [("default", False), ("host", False), ("none", True)]
)
def test_only_the_network_none_is_cut_off(network, cut_off):
    """A sandbox shares the host's network unless the spec says none."""
    assert ("--unshare-net" in make_argv(evolve(SPEC, network=network))) is cut_off


def test_a_named_network_is_refused():
    """Bubblewrap has no networks with names; asking for one is an error and no silent default."""
    with pytest.raises(StartFailed, match="no network 'bridge-7'; set CONTAINER_NETWORK"):
        make_argv(evolve(SPEC, network="bridge-7"))


def test_the_specs_user_takes_the_place_of_the_images():
    """A spec with a user is obeyed."""
    argv = make_argv(evolve(SPEC, user=Owner(uid=7, gid=8)))
    assert " --uid 7 --gid 8 " in joined(argv)


@pytest.mark.parametrize(
    ("mount", "arguments"),
    [
        (
            VolumeMount(host_path=Path("/h:1"), container_path="/c", readonly=True),
            "--ro-bind /h:1 /c",
        ),
        (VolumeMount(host_path=Path("/h"), container_path="/c", readonly=False), "--bind /h /c"),
        (
            VolumeMount(host_path=Path("/dev/null"), container_path="/c/.env", readonly=True),
            "--dev-bind /dev/null /c/.env",
        ),
    ],
)
def test_mounts_are_binds(mount, arguments):
    """A mount becomes a bind, whatever characters its path holds (Trap A16)."""
    argv = joined(make_argv(evolve(SPEC, mounts=(mount,))))
    assert f" --dir /app/src {arguments} --remount-ro / " in argv


def test_the_specs_variables_take_the_place_of_the_default():
    """A variable of the spec replaces ours and is set once."""
    argv = make_argv(evolve(SPEC, environment={"TZ": "UTC", "NANOCLAW_AGENT": "echo"}))
    assert argv.count("TZ") == 1
    assert " --setenv TZ UTC " in joined(argv)
    assert " --setenv NANOCLAW_AGENT echo " in joined(argv)


@pytest.mark.parametrize(
    ("python", "command", "arguments"),
    [
        (DEBIAN, "/usr/bin/python3", ""),
        (DEBIAN_ENVIRONMENT, "/opt/venv/bin/python", "--ro-bind /srv/bot/.venv /opt/venv "),
        (
            VERSION_MANAGER,
            "/opt/venv/bin/python",
            (
                "--ro-bind /home/me/py/3.12 /home/me/py/3.12 "
                "--ro-bind /home/me/py/3.12.4 /home/me/py/3.12.4 "
                "--symlink /home/me/.local/bin/python3.12 /srv/venv/bin/python3 "
                "--symlink /home/me/py/3.12/bin/python3.12 /home/me/.local/bin/python3.12 "
                "--ro-bind /srv/venv /opt/venv "
            ),
        ),
        (
            OWN_BUILD,
            "/home/me/bin/python3",
            (
                "--ro-bind /opt/python /opt/python "
                "--symlink /opt/python/bin/python3 /home/me/bin/python3 "
                "--ro-bind /home/me/.local/lib/python3.12/site-packages /opt/packages/0 "
            ),
        ),
    ],
)
def test_every_kind_of_python_is_shown(python, command, arguments):
    """A sandbox sees the Python, what its links lead to, and its packages, and nothing else."""
    argv = make_argv(python=python)
    assert python_command(python) == command
    assert argv[argv.index("--") + 1] == command
    assert f" --dir /app/src {arguments}--remount-ro / " in joined(argv)


def test_packages_outside_of_the_python_are_on_its_path():
    """Packages from elsewhere are imported after the agent's own source; its scripts come first."""
    environment = default_environment(OWN_BUILD, "UTC")
    assert environment["PYTHONPATH"] == "/app/src:/opt/packages/0"
    assert environment["PATH"].startswith("/home/me/bin:/usr/local/sbin:")


@pytest.mark.parametrize(
    ("python", "shown"),
    [
        (DEBIAN, ()),
        (DEBIAN_ENVIRONMENT, ("/srv/bot/.venv",)),
        (VERSION_MANAGER, ("/srv/venv", "/home/me/py/3.12", "/home/me/py/3.12.4")),
        (OWN_BUILD, ("/opt/python", "/home/me/.local/lib/python3.12/site-packages")),
    ],
)
def test_what_is_shown_for_the_pythons_sake(python, shown):
    """What of the host is shown beside its system directories is known before it is shown."""
    assert shown_directories(python) == shown


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(name=WORDS, labels=st.dictionaries(WORDS, WORDS, max_size=4))
def test_a_command_line_tells_whose_it_is(name, labels):
    """Name and labels are read back from the command line, and from the mounts that it makes, as
    they were given."""
    argv = make_argv(evolve(SPEC, name=name, labels=labels))
    assert parse_marks(argv) == (name, labels)
    targets = [
        target
        for option, _, target in zip(argv, argv[1:], argv[2:], strict=False)
        if option == "--ro-bind"
    ]
    assert parse_mounted_marks(["/", *targets]) == (name, labels)
    assert max(len(part) for target in targets for part in target.split("/")) < 256


def test_marks_too_long_for_a_path():
    """A name and labels that no path can hold are a failed start, which says so."""
    with pytest.raises(StartFailed, match="its name and labels take 4040 bytes, and may take 3000"):
        make_argv(evolve(SPEC, name="x", labels={"a": "b" * 3014}))


@pytest.mark.parametrize(
    "points",
    [(), ("/", "/.nanoclaw"), ("/.nanoclaw/!",), ("/.nanoclaw/e30=",), ("/.nanoclaw/WzEsIDJd",)],
)
def test_other_mounts_are_nobodys(points):
    """Mounts without our marks below our place belong to no sandbox."""
    assert parse_mounted_marks(points) is None


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("/bw",),
        ("/bw", "--clearenv", "--setenv", "NANOCLAW_CONTAINER", "x"),
        tuple(make_argv()[1:]),
        ("/sh", *make_argv()),
        (*make_argv()[:7], "[]"),
        (*make_argv()[:7], "{"),
        (*make_argv()[:7], "[" * 60_000),
        (*make_argv()[:6], "OTHER", *make_argv()[7:]),
    ],
)
def test_other_command_lines_are_nobodys(command):
    """A command line without our marks in their places belongs to no sandbox."""
    assert parse_marks(command) is None


def test_a_mount_can_not_pass_for_a_mark():
    """Marks that come later in a command line, such as in a mount's path, say nothing."""
    marks = make_argv(evolve(SPEC, name="victim"))[1:8]
    assert parse_marks(("/bw", "--ro-bind", *marks)) is None
