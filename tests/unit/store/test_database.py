"""The store as Trio's tasks use it: one after the other, whole or not at all."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from nanoclaw_trio.errors import InvalidFile, ProjectNotFound
from nanoclaw_trio.store import sessions
from nanoclaw_trio.store.database import open_store


class Gate:
    """A function for a transaction that waits in its thread until it is let on."""

    def __init__(self):
        self.begun = trio.Event()
        self._go = threading.Event()
        self._token = trio.lowlevel.current_trio_token()

    def __call__(self, tx, folder):
        sessions.keep_session(tx, folder, "session")
        self._token.run_sync_soon(self.begun.set)
        assert self._go.wait(60)
        return folder

    def open(self):
        """Let it on."""
        self._go.set()


@pytest.fixture
async def store(project):
    """The project's store."""
    async with open_store(project) as store:
        yield store


@pytest.fixture
async def gate():
    """A transaction that waits."""
    gate = Gate()
    yield gate
    gate.open()


def kept(tx):
    """Whose sessions were kept, in order."""
    return [row["folder"] for row in tx.rows("SELECT folder FROM sessions ORDER BY folder")]


class TestTransact:
    async def test_arguments_and_result(self, store, make):
        """Arguments go in by place and by name, and the result comes out."""

        def function(tx, first, *, second):
            return tx.number("SELECT ?", first + second)

        assert await store.transact(function, 1, second=2) == 3

    async def test_an_exception(self, store):
        """It comes out as it is, and nothing has happened."""
        error = LookupError("mine")

        def function(tx):
            sessions.keep_session(tx, "family", "s")
            raise error

        with pytest.raises(LookupError) as caught:
            await store.transact(function)
        assert caught.value is error
        assert await store.transact(kept) == []

    async def test_in_order(self, store, gate):
        """Transactions are done one after the other, in the order in which they were asked for."""
        done = []

        async def transact(folder):
            await store.transact(sessions.keep_session, folder, "s")
            done.append(folder)

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.transact, gate, "family")
                await gate.begun.wait()
                for number in range(10):
                    nursery.start_soon(transact, f"{number}")
                    await trio.testing.wait_all_tasks_blocked()
                assert done == []
                gate.open()
        assert done == [f"{number}" for number in range(10)]

    async def test_cancelled_before(self, store, gate):
        """Cancelled while it waits for its turn, nothing of it happens."""
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.transact, gate, "family")
                await gate.begun.wait()
                with trio.move_on_after(0) as scope:
                    await store.transact(sessions.keep_session, "friends", "s")
                assert scope.cancelled_caught
                gate.open()
        assert await store.transact(kept) == ["family"]

    async def test_cancelled_from_the_start(self, store):
        """In a scope that is cancelled already, nothing happens."""
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.transact(sessions.keep_session, "family", "s")
        assert scope.cancelled_caught
        assert await store.transact(kept) == []

    async def test_cancelled_in_the_middle(self, store, gate):
        """Cancelled once it has begun, it is done whole, and its result comes out."""
        results = []

        async def transact(scope):
            with scope:
                results.append(await store.transact(gate, "family"))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                nursery.start_soon(transact, scope)
                await gate.begun.wait()
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                assert results == []
                gate.open()
        assert (results, scope.cancelled_caught) == (["family"], False)
        assert await store.transact(kept) == ["family"]

    async def test_on_a_virtual_clock(self, virtual_clock, store):
        """Time stands still while a transaction is done."""
        for number in range(20):
            await store.transact(sessions.keep_session, f"{number}", "s")
        assert trio.current_time() == 0


class TestOpening:
    async def test_again(self, project):
        """What was kept is found by the next one that opens it."""
        for expected in ([], ["family"]):
            async with open_store(project) as store:
                assert await store.transact(kept) == expected
                await store.transact(sessions.keep_session, "family", "s")

    async def test_what_cannot_be_opened(self, project, tmp_path):
        """Errors come out as they are, not in a group."""
        with pytest.raises(ProjectNotFound):
            async with open_store(tmp_path / "nothing"):
                pass
        (project / "data").mkdir()
        (project / "data" / "engine.db").write_bytes(b"no database" * 100)
        with pytest.raises(InvalidFile):
            async with open_store(project):
                pass


class TestClosing:
    async def test_an_exception_of_the_block(self, project):
        """It goes on as it is, and the database is closed."""
        error = LookupError("mine")
        with pytest.raises(LookupError) as caught:
            async with open_store(project) as store:
                raise error
        assert caught.value is error
        with pytest.raises(trio.ClosedResourceError):
            await store.transact(kept)
        assert [file.name for file in (project / "data").iterdir()] == ["engine.db"]

    async def test_cancelled(self, project):
        """A cancelled block closes its database too."""
        with trio.CancelScope() as scope:
            async with open_store(project) as store:
                await store.transact(sessions.keep_session, "family", "s")
                scope.cancel()
                await trio.sleep_forever()
        assert [file.name for file in (project / "data").iterdir()] == ["engine.db"]

    async def test_while_one_is_done(self, project, gate):
        """What has begun is waited for; what waits for its turn then isn't done."""
        closed = []

        async def refused(store):
            with pytest.raises(trio.ClosedResourceError):
                await store.transact(sessions.keep_session, "friends", "s")
            closed.append(True)

        async def let_on():
            # Long enough for a closing that doesn't wait to be seen.
            await trio.testing.wait_all_tasks_blocked(0.05)
            gate.open()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery, open_store(project) as store:
                nursery.start_soon(store.transact, gate, "family")
                await gate.begun.wait()
                nursery.start_soon(refused, store)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(let_on)
        assert closed == [True]
        async with open_store(project) as store:
            assert await store.transact(kept) == ["family"]

    async def test_is_bounded(self, autojump_clock, project, gate):
        """A transaction that hangs is left alone in the end; once the disk answers it is done."""
        async with trio.open_nursery() as nursery:
            # This clock doesn't see the thread, and jumps to where closing has waited long enough.
            async with open_store(project) as store:
                nursery.start_soon(store.transact, gate, "family")
                await gate.begun.wait()
            assert trio.current_time() == pytest.approx(10)
            gate.open()
        with pytest.raises(trio.ClosedResourceError):
            await store.transact(kept)
        async with open_store(project) as store:
            assert await store.transact(kept) == ["family"]

    async def test_is_bounded_by_itself(self, autojump_clock, project):
        """A closing that hangs is left alone too."""
        go = threading.Event()
        async with open_store(project) as store:
            await store.transact(sessions.keep_session, "family", "s")
            store._database._connection.set_trace_callback(lambda _: go.wait(60))
        assert trio.current_time() == pytest.approx(10)
        assert (project / "data" / "engine.db-wal").exists()
        go.set()
        async with open_store(project) as store:
            assert await store.transact(kept) == ["family"]
