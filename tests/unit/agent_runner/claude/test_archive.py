"""Conversations as files: their names, and what happens when the disk doesn't want them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_agent.agents.claude.archive import Archive, archive_transcript, file_names, slug

reproducible = settings(derandomize=True, deadline=None)

NOON = datetime(2026, 2, 1, 12, 5, tzinfo=UTC)


@pytest.fixture
def archive(tmp_path):
    """An archive whose directory isn't there yet."""
    return Archive(
        directory=tmp_path / "group" / "conversations", assistant_name="Andy", now=lambda: NOON
    )


@pytest.fixture
def transcript(tmp_path):
    """The path of a transcript in which the user said something."""

    def write(text="Hello"):
        path = tmp_path / "transcript.jsonl"
        entry = {"type": "user", "message": {"content": text}}
        path.write_text("no JSON\n" + json.dumps(entry))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("summary", "name"),
    [
        ("Water the flowers!", "water-the-flowers"),
        ("  --Déjà_vu: 日本 -- ", "déjà-vu-日本"),
        ("../../etc/passwd\0", "etc-passwd"),
        ("\ud800", ""),
        ("🦀", ""),
        ("", ""),
        (None, ""),
        ("a" * 49 + " b", "a" * 49),
        ("日" * 99, "日" * 50),
    ],
)
def test_slug_is_a_part_of_a_name(summary, name):
    """Letters and digits of any script, single dashes between, and no more than fit."""
    assert slug(summary) == name


@reproducible
@given(st.text())
def test_any_summary_makes_a_name(summary):
    """Whatever a summary holds, the name is one component that every file system takes."""
    first, second = islice(file_names(NOON, summary), 2)
    assert first != second
    for name in (first, second):
        assert name.startswith("2026-02-01-")
        assert not set("/\\\0.") & set(name.removesuffix(".md"))
        assert len(name.encode()) < 255


def test_names_without_a_summary_have_the_time():
    """The next ones have a number."""
    assert list(islice(file_names(NOON, None), 3)) == [
        "2026-02-01-conversation-1205.md",
        "2026-02-01-conversation-1205-2.md",
        "2026-02-01-conversation-1205-3.md",
    ]


def test_conversation_becomes_a_file(archive, transcript):
    """The directory is made, and nothing but the conversation lies in it."""
    path = archive_transcript(transcript(), "A talk", archive)
    assert [path] == list(archive.directory.iterdir())
    assert path.name == "2026-02-01-a-talk.md"
    assert path.read_text().startswith("# A talk\n")
    assert "**User**: Hello\n" in path.read_text()


def test_second_one_of_a_day_replaces_nothing(archive, transcript):
    """Two conversations with one summary are two files, whatever lies there already."""
    archive.directory.mkdir(parents=True)
    (archive.directory / "2026-02-01-a-talk-2.md").symlink_to("nowhere")
    texts = ["first", "second", "third"]
    paths = [archive_transcript(transcript(text), "A talk", archive) for text in texts]
    assert [path.name for path in paths] == [f"2026-02-01-a-talk{n}.md" for n in ("", "-3", "-4")]
    assert all(text in path.read_text() for text, path in zip(texts, paths, strict=True))


def test_conversation_without_a_word_is_no_file(archive, tmp_path):
    """A transcript in which nobody said anything leaves not even a directory."""
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(b"\xff\n{}\n")
    assert archive_transcript(str(path), "A talk", archive) is None
    assert not archive.directory.exists()


def test_half_a_surrogate_pair_is_replaced(archive, transcript):
    """What JSON allows and UTF-8 doesn't becomes a question mark, in the title too."""
    path = archive_transcript(transcript("a \ud800 b"), "c \ud800 d", archive)
    assert "# c ? d" in path.read_text()
    assert "a ? b" in path.read_text()


def test_transcript_that_is_not_there_is_an_error(archive, tmp_path):
    """Nothing is made for it."""
    with pytest.raises(FileNotFoundError):
        archive_transcript(str(tmp_path / "missing"), None, archive)
    assert not archive.directory.exists()


def test_directory_that_is_a_file_is_an_error(archive, transcript):
    """Where a file lies in the directory's place, it stays what it is."""
    archive.directory.parent.mkdir()
    archive.directory.write_text("mine")
    with pytest.raises(FileExistsError):
        archive_transcript(transcript(), None, archive)
    assert archive.directory.read_text() == "mine"


def test_full_disk_leaves_nothing_half(archive, transcript, limited_files):
    """A file that couldn't be written to its end isn't there, under no name."""
    path = transcript("x" * 10_000)
    with pytest.raises(OSError, match="File too large"), limited_files(5000):
        archive_transcript(path, None, archive)
    assert list(archive.directory.iterdir()) == []
