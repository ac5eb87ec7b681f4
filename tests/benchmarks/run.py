"""Measures this engine beside bare baselines, in one run, and prints ratios.

    python tests/benchmarks/run.py [--rounds N] [--only WORD] [--all]

Absolute times say little: the machine's speed and load are in them. Each workload takes turns with
its baseline, so that both see the same of that. Figures are medians of the rounds, each round a
process of its own; what it costs to start Python and to import everything isn't in them.

Ours is a whole `run_container_agent`: workspace, mailbox, input, streams, outcome and run log, on a
runtime without isolation, so that a sandbox's cost isn't in it. Bare is `bare.c`, which starts the
same agents (`agent.c`), reads their streams and throws away what comes. Where Trio's own cost is the
question, `plain_trio.py` does the same with Trio. Needs a C compiler; with `--all`, which
runs the other programs here as well, also Docker and an image, and takes some minutes more.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MIB = 1024 * 1024
CHATTY = ("chatty", "20")
FLOOD = str(64 * 1024)

RUNS = 200
SEQUENCE = (f"{RUNS} runs in sequence", ("sequence", str(RUNS), "true"))

THROUGHPUT = [
    ("100,000 small frames", ("sequence", "1", "frames", "100000")),
    *(
        (f"one frame of {size} MiB", ("sequence", "1", "frame", str(size * MIB)))
        for size in (1, 8, 32, 64)
    ),
    ("1 GiB of noise on standard output", ("sequence", "1", "noise", str(1024 * MIB), "1")),
    ("1 GiB of noise on standard error", ("sequence", "1", "noise", str(1024 * MIB), "2")),
]

LATENCY = [
    ("20 agents", ("crowd", "20", *CHATTY, "50", "0")),
    ("20 agents, and one frame of 32 MiB", ("crowd", "21", *CHATTY, "50", str(32 * MIB))),
    *(
        (f"{count} agents", ("crowd", str(count), *CHATTY, "250", "0"))
        for count in (100, 500, 1000)
    ),
]

CONSUMERS = [
    (
        f"20 agents, and a flood to a {kind} consumer",
        ("slow_consumer", ms, FLOOD, *CHATTY, "50", "0"),
    )
    for kind, ms in (("quick", "0"), ("slow", "10"))
]


OTHERS = ("start_up.py", "many_groups.py", "first_answer.py", "long_lived.py")


def compile_program(compiler, name, directory):
    """Compile one of the C programs; its path."""
    target = Path(directory, name)
    subprocess.run([compiler, "-O2", "-o", target, HERE / f"{name}.c"], check=True)
    return str(target)


def allow_descriptors():
    """Raise the soft limit: a thousand agents have four descriptors each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def figures(argv):
    """What a workload's process prints."""
    output = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(output)


def measure_ours(agent, words):
    """One round of ours."""
    return figures([sys.executable, str(HERE / "workloads.py"), agent, *words])


def measure_trio(agent, words):
    """One round of Trio alone, which decodes each frame in one go."""
    return figures([sys.executable, str(HERE / "plain_trio.py"), agent, *words])


def measure_bare(bare, agent, words):
    """One round of the baseline."""
    name, count, *rest = words
    return figures([bare, name, count, agent, *rest])


def median(rounds):
    """The median of each figure."""
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def compare(programs, words, rounds):
    """The medians of ours and of the baseline, measured in turn."""
    agent, bare = programs
    pairs = [(measure_ours(agent, words), measure_bare(bare, agent, words)) for _ in range(rounds)]
    return median([ours for ours, _ in pairs]), median([other for _, other in pairs])


def print_row(*cells):
    """One line of a table."""
    print("|", " | ".join(cells), "|", flush=True)


def print_head(*cells):
    """The first two lines of a table."""
    print()
    print_row(*cells)
    print_row(*("---" for _ in cells))


def compared(ours, bare, figure):
    """Both figures, and their ratio."""
    one, other = ours[figure], bare[figure]
    return f"{one:.3f}", f"{other:.3f}", f"{one / other:.1f}"


def describe_memory(figure):
    """Peak MiB, and what it was before the workload."""
    return f"{figure['peak'] / 1024:.0f} of which {figure['base'] / 1024:.0f} before"


def compare_with_trio(programs, words, rounds):
    """The medians of ours, of the baseline and of Trio alone, measured in turn."""
    agent, bare = programs
    turns = [
        (measure_ours(agent, words), measure_bare(bare, agent, words), measure_trio(agent, words))
        for _ in range(rounds)
    ]
    return [median(each) for each in zip(*turns, strict=True)]


def print_sequence(programs, rounds, workloads):
    """What one run costs, and what of that is the container's."""
    for label, words in workloads:
        ours, bare, trio = compare_with_trio(programs, words, rounds)
        print_head(label, "ms a run", "by bare")
        parts = (
            ("bare", bare["wall"]),
            ("Trio alone", trio["wall"]),
            ("ours, from a container's start until it is known to be gone", ours["lives"]),
            ("ours, with all that is before and after", ours["wall"]),
        )
        for part, seconds in parts:
            print_row(part, f"{1000 * seconds / RUNS:.2f}", f"{seconds / bare['wall']:.1f}")


def print_throughput(programs, rounds, workloads):
    """What bytes, frames and runs cost."""
    print_head("workload", "ours, s", "bare, s", "ratio", "CPU, s", "bare, s", "ratio", "MiB")
    for label, words in workloads:
        ours, bare = compare(programs, words, rounds)
        cells = (*compared(ours, bare, "wall"), *compared(ours, bare, "cpu"))
        print_row(label, *cells, describe_memory(ours))


def print_latency(programs, rounds, workloads):
    """How long a frame is under way, from its agent's write to the caller's code."""
    names = [f"{name} {part}" for name in ("ours,", "bare,", "Trio,") for part in ("p50", "p99")]
    print_head("at once, ms", *names, "CPU by Trio", "MiB", "KiB an agent")
    for label, words in workloads:
        measured = ours, _, trio = compare_with_trio(programs, words, rounds)
        percentiles = (f"{one[part]:.2f}" for one in measured for part in ("p50", "p99"))
        each = (ours["peak"] - ours["base"]) / int(words[1])
        memory = (describe_memory(ours), f"{each:.0f}")
        print_row(label, *percentiles, compared(ours, trio, "cpu")[2], *memory)


def print_consumers(programs, rounds, workloads):
    """What a slow consumer costs the others, and memory."""
    print_head("at once", "p50 ms of the others", "p99 ms", "MiB")
    for label, words in workloads:
        ours = median([measure_ours(programs[0], words) for _ in range(rounds)])
        print_row(label, f"{ours['p50']:.2f}", f"{ours['p99']:.2f}", describe_memory(ours))


TABLES = (
    (print_sequence, [SEQUENCE]),
    (print_throughput, THROUGHPUT),
    (print_latency, LATENCY),
    (print_consumers, CONSUMERS),
)


def print_others(rounds):
    """What is measured by programs of their own; two of them need Docker and an image."""
    for name in OTHERS:
        print(flush=True)
        subprocess.run([sys.executable, HERE / name, "--rounds", str(rounds)], check=True)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="measure only what has this in its name")
    parser.add_argument("--all", action="store_true", help="run the other programs here, too")
    options = parser.parse_args()
    compiler = shutil.which("cc") or sys.exit("no C compiler: the baseline and the agents need one")
    allow_descriptors()

    with tempfile.TemporaryDirectory() as directory:
        programs = [compile_program(compiler, name, directory) for name in ("agent", "bare")]
        for print_table, workloads in TABLES:
            wanted = [each for each in workloads if options.only in each[0]]
            if wanted:
                print_table(programs, options.rounds, wanted)
    if options.all:
        print_others(options.rounds)


if __name__ == "__main__":
    main()
