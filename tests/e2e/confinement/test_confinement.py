"""How far a container is confined, told by its agent, in real runtimes."""

from __future__ import annotations

import uuid

import pytest

from nanoclaw_trio.protocol.models import ContainerConfig
from nanoclaw_trio.store.database import open_store

MEBIBYTE = 1024 * 1024

METADATA = (
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "fd00:ec2::254",
)
"""Where clouds tell a machine's credentials: the usual address, the container services' two, one of
another provider, and the one of IPv6."""

NO_WAY = {"ENETUNREACH", "EADDRNOTAVAIL"}
"""What the kernel says of an address that there is no route to: the second where it has no IPv6."""

NO_ANSWER = {*NO_WAY, "ETIMEDOUT", "EHOSTUNREACH"}
"""What comes of a connection that an engine's firewall drops or turns away, or that has no route."""

OWN_PLACES = ("/tmp", "/home/node", "/dev/shm", "/workspace/group", "/workspace/ipc", "/app/src")

IMAGES_PLACES = ("/", "/etc", "/opt", "/bin", "/workspace")

REFUSED = {"EPERM", "EINVAL", "EROFS", "ENOENT", "EACCES"}


@pytest.fixture(params=["docker", "bubblewrap"])
def runtime(request):
    """Each of the two in turn."""
    return request.getfixturevalue(request.param)


async def test_an_agent_has_no_privileges(runtime, look_around):
    """No capability in any of the kernel's five sets, none to be gained, and no way by the usual
    first steps out. Trap A15."""
    asked = {"privileges": None, "steps_out": None, "disks": None}
    found = await look_around(runtime, asked, network="none")
    assert found["privileges"] == {
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0),
        "NoNewPrivs": 1,
        "uid": 1000,
    }
    assert set(found["steps_out"].values()) <= REFUSED, found
    assert found["disks"] == []


async def test_limits_are_in_force(docker, look_around):
    """Memory, processors and processes are what the settings say, as the kernel has it; a group's
    own memory and processors stand in their place; who forks without end is refused."""
    asked = {"limits": None, "forks": 200}
    limits = {"memory": 256 * MEBIBYTE, "cpus": 1.0, "pids_limit": 50}
    config = ContainerConfig(memory=128 * MEBIBYTE, cpus=0.5)
    found = await look_around(docker, asked, config=config, network="none", **limits)
    assert found["limits"] == {"pids": 50, "memory": 128 * MEBIBYTE, "cpus": 0.5}
    children, refusal = found["forks"]
    assert refusal == "EAGAIN"
    assert children < 50
    found = await look_around(docker, {"limits": None}, network="none", **limits)
    assert found["limits"] == {"pids": 50, "memory": 256 * MEBIBYTE, "cpus": 1.0}


@pytest.mark.parametrize("said_by", ["settings", "group"])
async def test_without_a_network_nothing_is_reached(runtime, look_around, said_by):
    """With the network `none`, be it the settings' or the group's own, there is a loopback interface
    and no route to anywhere: not to the address where a cloud tells credentials, either."""
    asked = {"interfaces": None, "reach": [*METADATA, "192.0.2.1", "2001:db8::1"]}
    config = ContainerConfig(network="none") if said_by == "group" else None
    network = "default" if said_by == "group" else "none"
    found = await look_around(runtime, asked, config=config, network=network)
    assert found["interfaces"] == ["lo"]
    assert set(found["reach"].values()) <= NO_WAY, found


async def test_with_a_network_the_same_is_seen(runtime, look_around):
    """The look above finds an interface and a route where a group has a network of its own accord:
    with `default` an agent reaches what the engine's network reaches."""
    asked = {"interfaces": None, "reach": METADATA[:1]}
    config = ContainerConfig(network="default")
    found = await look_around(runtime, asked, config=config, network="none")
    assert len(found["interfaces"]) > 1
    assert found["reach"] == {METADATA[0]: "done"}


async def test_an_internal_network_ends_at_this_host(
    docker, look_around, internal_network, gateway, outsider
):
    """In a network that docker was told to keep internal nobody answers from beyond this host, nor
    at the address where a cloud tells credentials; somebody does whom the default network reaches,
    too. This host itself answers."""
    asked = {"knock": [(METADATA[0], 80), outsider, gateway]}
    found = await look_around(docker, asked, network=internal_network)
    *beyond, here = found["knock"]
    assert {*beyond} <= NO_ANSWER, found
    assert here == "done"
    found = await look_around(docker, {"knock": [outsider]}, network="default")
    assert found["knock"] == ["done"]


@pytest.mark.parametrize("config", [None, ContainerConfig(read_only=True)])
async def test_a_read_only_root(docker, look_around, config):
    """The image's files can't be changed; the mounts, /tmp and the home can, and programs run there;
    whether the settings or the group say so."""
    asked = {"write": [*OWN_PLACES, *IMAGES_PLACES], "execute": ["/tmp", "/home/node"]}
    found = await look_around(
        docker, asked, config=config, read_only=config is None, network="none"
    )
    assert found["write"] == dict.fromkeys(OWN_PLACES, "done") | dict.fromkeys(
        IMAGES_PLACES, "EROFS"
    )
    assert set(found["execute"].values()) == {"done"}


async def test_a_sandboxs_root_is_always_read_only(bubblewrap, look_around):
    """In bubblewrap the same holds without a setting, but for /workspace, which is the sandbox's."""
    asked = {"write": [*OWN_PLACES, *IMAGES_PLACES[:-1]], "execute": ["/tmp", "/home/node"]}
    found = await look_around(bubblewrap, asked, network="none")
    assert found["write"] == dict.fromkeys(OWN_PLACES, "done") | dict.fromkeys(
        IMAGES_PLACES[:-1], "EROFS"
    )
    assert set(found["execute"].values()) == {"done"}


@pytest.mark.parametrize("is_main", [False, True])
async def test_what_is_another_groups_is_out_of_reach(runtime, look_around, project, is_main):
    """No socket has a name in there, an engine's least of all. Of another group neither a file's
    text nor its folder's name can be found anywhere, by a group that isn't main; and of the keys
    in the .env nothing by any group."""
    folder, secret, key = (uuid.uuid4().hex for _ in range(3))
    for place in (f"groups/{folder}", f"data/ipc/{folder}", f"data/sessions/{folder}/.claude"):
        (project / place).mkdir(parents=True)
        (project / place / "note").write_text(secret)
    (project / ".env").write_text(f"ANTHROPIC_API_KEY={key}\n")
    asked = {"sockets": None, "find": [key] if is_main else [folder, secret, key]}
    found = await look_around(runtime, asked, is_main=is_main, network="none")
    assert found == {"sockets": [], "find": []}


async def test_no_file_gets_a_second_name_elsewhere(runtime, look_around, project):
    """A hard link can't be made from one mount into another: neither the main group's agent nor
    another's gets a file of somebody else's into a folder that the host gives away or reads."""
    (project / "groups" / "work").mkdir(parents=True)
    (project / "groups" / "work" / "note").write_text("x")
    pairs = [
        ("/workspace/project/groups/work/note", "/workspace/group/note"),
        ("/app/src/nanoclaw_agent/__main__.py", "/workspace/ipc/messages/1.json"),
    ]
    found = await look_around(runtime, {"link": pairs}, is_main=True, network="none")
    assert found["link"] == ["EXDEV", "EXDEV"]


async def test_the_search_would_find_it(bubblewrap, look_around, project):
    """The search above finds what is there to be found: the main group reads the project."""
    secret = uuid.uuid4().hex
    (project / "groups" / "work").mkdir(parents=True)
    (project / "groups" / "work" / "note").write_text(secret)
    asked = {"find": [secret]}
    found = await look_around(bubblewrap, asked, is_main=True, network="none")
    assert found["find"] == ["/workspace/project/groups/work/note"]


async def test_the_engines_data_is_out_of_the_main_groups_reach(runtime, look_around, project):
    """The main group reads the project, with the agents' own in data/, and nothing else of data/:
    who could open the database there could lock it, though the mount be read-only, and keep the
    engine from writing."""
    async with open_store(project):
        own = [path.name for path in (project / "data").iterdir()]
        inside = "/workspace/project/data"
        asked = {"opened": [f"{inside}/{name}" for name in (*own, "ipc", "sessions", "install-id")]}
        found = await look_around(runtime, asked, is_main=True, network="none")
    assert {"engine.db", "engine.db-wal", "engine.db-shm"} <= set(own)
    done = {path for path, came in found["opened"].items() if came == "done"}
    assert done == {f"{inside}/ipc", f"{inside}/sessions"}
    assert set(found["opened"].values()) == {"done", "ENOENT"}
