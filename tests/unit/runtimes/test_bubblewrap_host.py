"""What is found of a host: its system directories and its Python, in the shapes they come in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from nanoclaw_trio.runtimes.bubblewrap_host import (
    Bind,
    Link,
    collect_host,
    collect_python,
    collect_system,
    follow_links,
    holds_processes,
    is_below,
    select_package_directories,
)


def make(root, *paths):
    """Empty files, and the directories above them."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def targets(system):
    """Where a sandbox sees something of the host."""
    return {bind.target for bind in system.binds}


def test_a_merged_usr_is_links(tmp_path):
    """Where /bin and /lib are links into /usr, a sandbox gets the same links."""
    make(tmp_path, "usr/bin/sh", "usr/lib/libc.so")
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "lib").symlink_to("/usr/lib")
    system = collect_system(tmp_path)
    assert system.links == (
        Link(path="/bin", target="usr/bin"),
        Link(path="/lib", target="/usr/lib"),
    )
    assert Bind(source=str(tmp_path / "usr"), target="/usr") in system.binds


def test_an_unmerged_usr_is_directories(tmp_path):
    """Where /bin and /lib are directories of their own, a sandbox sees them."""
    make(tmp_path, "usr/bin/python3", "bin/sh", "lib/libc.so")
    system = collect_system(tmp_path)
    assert system.links == ()
    assert Bind(source=str(tmp_path / "bin"), target="/bin") in system.binds
    assert Bind(source=str(tmp_path / "lib"), target="/lib") in system.binds
    assert not {"/sbin", "/lib64"} & targets(system)


def test_a_link_out_of_etc_is_followed(tmp_path):
    """The file that /etc/resolv.conf leads to is shown, as what it leads to isn't."""
    make(tmp_path, "run/resolve/stub.conf", "etc/hosts")
    (tmp_path / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    (tmp_path / "etc/localtime").symlink_to("../usr/share/zoneinfo/Nowhere")
    system = collect_system(tmp_path)
    assert (
        Bind(source=str(tmp_path / "run/resolve/stub.conf"), target="/etc/resolv.conf")
        in system.binds
    )
    assert "/etc/hosts" in targets(system)
    assert "/etc/localtime" not in targets(system)


def test_the_hosts_keys_and_users_stay_out(tmp_path):
    """Certificates are shown and private keys are not; the users are the sandbox's own."""
    make(
        tmp_path,
        "etc/ssl/certs/ca.pem",
        "etc/ssl/private/host.key",
        "etc/pki/tls/certs/ca.pem",
        "etc/pki/tls/private/host.key",
        "etc/passwd",
        "etc/shadow",
    )
    system = collect_system(tmp_path)
    etc = {target for target in targets(system) if target.startswith("/etc/")}
    assert etc == {"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/group", "/etc/passwd"}
    sources = [bind.source for bind in system.binds if bind.target == "/etc/passwd"]
    assert ["node:x:1000:1000:" in Path(source).read_text() for source in sources] == [True]


def test_only_what_is_in_proc_is_covered(tmp_path):
    """What a kernel doesn't have can't be covered, and isn't."""
    make(tmp_path, "proc/sys/kernel/panic", "proc/keys", "proc/version")
    system = collect_system(tmp_path)
    assert system.proc_read_only == ("/proc/sys",)
    assert system.proc_hidden == ("/proc/keys",)


@pytest.mark.parametrize(
    ("release", "user", "held"),
    [
        ("5.14.0", 1000, True),
        ("6.1.0-18-amd64", 1000, True),
        ("10.0", 1000, True),
        ("5.13.19-generic", 1000, False),
        ("4.19", 1000, False),
        ("unknown", 1000, False),
        ("6.1.0", 0, False),
    ],
)
def test_where_a_limit_on_processes_holds(release, user, held):
    """The kernel counts a sandbox's processes apart from the user's others from 5.14 on, and holds
    nobody to a limit who is root outside."""
    assert holds_processes(release, user) is held


def test_programs_are_found_where_a_sandbox_sees_them(tmp_path):
    """What isn't there, or no program, isn't used."""
    make(tmp_path, "bin/setsid", "usr/bin/setsid")
    assert collect_system(tmp_path).setsid is None
    (tmp_path / "bin/setsid").chmod(0o755)
    system = collect_system(tmp_path)
    assert (system.setsid, system.prlimit) == ("/bin/setsid", None)


def test_this_very_host_can_be_described():
    """The running system and Python are found, and Trio with it."""
    host = collect_host()
    assert "/usr" in targets(host.system)
    assert host.python.executable == sys.executable
    assert host.python.is_environment == (sys.prefix != sys.base_prefix)
    shown = (host.python.prefix, host.python.base_prefix, *host.python.package_directories)
    assert is_below(trio.__file__, shown)
    directories = len(host.python.package_directories)
    assert host.python.search_path[:directories] == host.python.package_directories
    assert set(host.python.search_path) >= set(sys.path)


def test_a_program_that_embeds_python_has_no_executable(monkeypatch):
    """Without an executable of its own, the one in its prefix is taken."""
    monkeypatch.setattr(sys, "executable", "")
    assert collect_python().executable == f"{sys.prefix}/bin/python3"


def test_links_are_followed_to_the_program(tmp_path):
    """Each link in a row is told, relative ones as the absolute path they mean."""
    make(tmp_path, "real/bin/python3.12")
    (tmp_path / "environment/bin").mkdir(parents=True)
    (tmp_path / "real/bin/python3").symlink_to("python3.12")
    (tmp_path / "environment/bin/python").symlink_to("../../real/bin/python3")
    first = str(tmp_path / "environment/bin/python")
    assert follow_links(Path(first)) == (
        Link(path=first, target=str(tmp_path / "real/bin/python3")),
        Link(path=str(tmp_path / "real/bin/python3"), target=str(tmp_path / "real/bin/python3.12")),
    )


def test_links_in_a_circle_end(tmp_path):
    """A link to itself doesn't hang the look at the host."""
    (tmp_path / "python").symlink_to("python")
    assert len(follow_links(tmp_path / "python")) == 40


@pytest.mark.parametrize(
    ("search_path", "expected"),
    [
        (["", "/py/lib/python312.zip", "/py/lib/python3.12", "/py/lib/site-packages"], ()),
        (["/home/me/.local/lib/python3.12/site-packages"] * 2, None),
        (["/venv/lib/site-packages", "/home/me/project/src"], ()),
        (["/usr/lib/python3/dist-packages"], None),
        (["/home/me/deps"], None),
    ],
)
def test_packages_from_elsewhere_are_selected(search_path, expected):
    """Directories of packages outside of the Python are kept, once each, and no source tree is."""
    selected = select_package_directories(search_path, ("/venv", "/py"), must_have="/home/me/deps")
    assert selected == (tuple(search_path[:1]) if expected is None else expected)


@pytest.mark.parametrize(
    ("path", "below"),
    [("/usr", True), ("/usr/bin", True), ("/usr2", False), ("/", False), ("usr", False)],
)
def test_below_is_meant_by_component(path, below):
    """A directory's name that merely begins alike isn't below it."""
    assert is_below(path, ("/usr", os.devnull)) is below
