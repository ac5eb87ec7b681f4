"""Measures how long an agent takes to its first answer, beside the bare `docker run` of its image.

    python tests/benchmarks/first_answer.py [--image NAME] [--rounds N]

The agent is the real one; its model is the imitation of the Messages API, which answers at once. All
get the same input, and take turns. Needs Docker, and an image (`nanoclaw-trio build`). Seconds are
medians, from the start to the end of the first output's frame.

- bare: `docker run -i --rm IMAGE` with the input piped in
- engine: `open_run`, in a process that lives already, as in a bridge
- command: `nanoclaw-trio run`, from the start of its process
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

from nanoclaw_trio import ContainerInput, RegisteredGroup, Settings, open_run, open_runtime
from nanoclaw_trio.logs import configure_logging

END = b"---NANOCLAW_OUTPUT_END---"
FOLDER = "main"
RUNTIMES = ("docker", "docker-api")
"""By docker's client, and by its socket, which the command takes by itself."""
KEY = "a-key-for-nobody"


def start_api(host):
    """The imitation of the API, as a process of its own; it and its URL."""
    argv = [sys.executable, "-m", "nanoclaw_trio.testing.messages_api", "--host", host]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def docker(*words):
    """One of docker's commands; what it says."""
    argv = ["docker", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def gateway(image):
    """This host's address, as seen from the default bridge: a container of it knows for sure."""
    container = docker("run", "-d", "--entrypoint", "sleep", image, "60")
    try:
        return docker("inspect", "-f", "{{.NetworkSettings.Gateway}}", container)
    finally:
        docker("rm", "-f", container)


def bare(image, document):
    """`docker run`, and nothing else."""
    start = time.perf_counter()
    argv = ["docker", "run", "-i", "--rm", image]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, **pipes) as process:
        process.stdin.write(json.dumps(document).encode())
        process.stdin.close()
        for line in process.stdout:
            if line.startswith(END):
                break
        seconds = time.perf_counter() - start
        process.terminate()
    return seconds


async def engine(settings, runtime):
    """A run of ours, in this process."""
    group = RegisteredGroup(name=FOLDER, folder=FOLDER)
    question = ContainerInput(prompt="Hello", group_folder=FOLDER, chat_jid="c", is_main=True)
    start = trio.current_time()
    seconds = None
    async with open_run(group, question, settings=settings, runtime=runtime) as run:
        async for output in run:
            seconds = seconds or trio.current_time() - start
            if output.is_session_update:
                await run.close()
    assert run.result.status == "success", run.result
    return seconds


def command(project, image):
    """The command, as a person starts it."""
    start = time.perf_counter()
    argv = [sys.executable, "-m", "nanoclaw_trio", "run", "--runtime", "auto", "--image", image]
    with subprocess.Popen(
        [*argv, "--json", "Hello"],
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        process.stdout.readline()
        seconds = time.perf_counter() - start
        process.communicate()
    return seconds


def make_project(project, url):
    """Write the secrets of a project, and return the input for the bare way."""
    secrets = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url}
    text = "".join(f"{name}={value}\n" for name, value in secrets.items())
    Path(project, ".env").write_text(text)
    document = {"prompt": "Hello", "groupFolder": FOLDER, "chatJid": "c", "isMain": True}
    return {**document, "secrets": secrets}


async def measure(project, image, document, rounds):
    """Seconds of each way, in turns."""
    settings = Settings.load(project).with_values(container_image=image)
    runtimes = {name: await open_runtime(name, settings) for name in RUNTIMES}
    times = {name: [] for name in ("bare", *RUNTIMES, "command")}
    for _ in range(rounds + 1):
        times["bare"].append(bare(image, document))
        for name, runtime in runtimes.items():
            times[name].append(await engine(settings, runtime))
        times["command"].append(command(project, image))
    # The first of each has the disk's cold caches in it.
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="nanoclaw-agent:latest")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    configure_logging("error")
    api, url = start_api(gateway(options.image))
    try:
        with tempfile.TemporaryDirectory() as project:
            document = make_project(project, url)
            seconds = trio.run(measure, project, options.image, document, options.rounds)
    finally:
        api.terminate()
    print("| start to first answer | seconds | ratio |\n| --- | --- | --- |")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {value / seconds['bare']:.2f} |")


if __name__ == "__main__":
    main()
