import asyncio
import gc
import os
from typing import Any, Awaitable, Callable

import pytest

import pageserver as package
from pageserver import PAGE_BYTES
from pageserver.testing import Server


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work(), 60)

    return asyncio.run(bounded())


def test_a_hundred_operations_are_in_flight(pageserver: Server, pageserver_image: str) -> None:
    async def work() -> None:
        async with await package.connect(pageserver.uri(pageserver_image), access="fork") as session:
            assert session.opened.pages == 4
            assert await session.grow(4) == 4
            texts = [b"block %d" % i for i in range(100)]
            await asyncio.gather(*(session.write(i * 5000, text) for i, text in enumerate(texts)))
            seen = await asyncio.gather(*(session.read(i * 5000, len(text)) for i, text in enumerate(texts)))
            assert seen == texts
            buffer = bytearray(10)
            await session.read_into(0, memoryview(buffer)[1:8])
            assert buffer == b"\0block 0\0\0"
            assert (await session.size()).pages == 8
            await session.zero(0, 100)
            assert await session.read(0, 7) == bytes(7)
            await session.discard()
            assert await session.read(70000, 5) == b"hello"
            assert (await session.stat()).store == pageserver_image
            ranges = await session.data_ranges(0, 4 * PAGE_BYTES)
            assert any(each.offset <= 70000 < each.offset + each.length for each in ranges)
            assert (await session.refresh()).pages == 4

    run(work)


def test_what_is_larger_than_a_request_is_split(pageserver: Server, pageserver_image: str) -> None:
    async def work() -> None:
        async with await package.connect(pageserver.uri(pageserver_image), access="fork") as session:
            length = session.request_bytes_max * 2 + 12345
            await session.grow(length // PAGE_BYTES + 1)
            data = os.urandom(length)
            await session.write(7, data)
            assert await session.read(7, length) == data
            with pytest.raises(package.OutOfBounds):
                await session.read(0, length * 2)

    run(work)


def test_an_operation_that_is_refused_is_the_only_one_to_fail(pageserver: Server, pageserver_image: str) -> None:
    async def work() -> None:
        async with await package.connect(pageserver.uri(pageserver_image), access="read") as session:
            outcomes = await asyncio.gather(
                session.read(70000, 5), session.read(1 << 40, 1), session.write(0, b"x"), session.read(70000, 5),
                return_exceptions=True,
            )  # fmt: skip
            assert outcomes[0] == outcomes[3] == b"hello"
            assert isinstance(outcomes[1], package.OutOfBounds) and isinstance(outcomes[2], package.ReadOnly)

    run(work)


def test_a_transaction_and_its_commit_leave_together(pageserver: Server) -> None:
    with pageserver.build("bank") as image:
        image.grow(1)

    async def work() -> None:
        async with await package.connect(pageserver.uri("bank"), publish="on_flush") as session:
            assert session.can_commit
            await asyncio.gather(session.write(0, b"paid"), session.write(100, b"booked"), session.commit())
            outcomes = await asyncio.gather(
                session.write(0, b"half"), session.write(1 << 40, b"x"), session.flush(10), return_exceptions=True
            )
            assert isinstance(outcomes[2], package.InvalidArgument)

    run(work)
    with pageserver.open("bank", access="read") as reader:
        assert (reader[0:4], reader[100:106]) == (b"paid", b"booked")


def test_a_lease_is_broken(pageserver: Server, pageserver_image: str) -> None:
    async def work() -> None:
        async with await package.connect(pageserver.uri(pageserver_image), name="first") as writer:
            async with await package.connect(pageserver.uri(pageserver_image), access="read") as reader:
                holder = await reader.break_lease()
                assert holder is not None and holder.name == "first"
                assert await reader.break_lease() is None
                with pytest.raises(package.LeaseLost):
                    await writer.write(0, b"x")

    run(work)


def test_a_cancelled_operation_leaves_the_others_alone(pageserver: Server, pageserver_image: str) -> None:
    async def work() -> None:
        async with await package.connect(pageserver.uri(pageserver_image), access="read") as session:
            tasks = [asyncio.ensure_future(session.read(70000, 5)) for _ in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            gc.collect()  # the buffers of the cancelled are still to be filled
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in outcomes[::2])
            assert outcomes[1::2] == [b"hello"] * 10

    run(work)


def test_close_ends_what_is_outstanding(pageserver: Server, pageserver_image: str) -> None:
    async def work() -> None:
        session = await package.connect(pageserver.uri(pageserver_image), access="read")
        tasks = [asyncio.ensure_future(session.read(70000, 5)) for _ in range(3)]
        await asyncio.sleep(0)
        await session.close()
        await session.close()
        assert session.closed
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, package.ConnectionLost)
        with pytest.raises(package.InvalidArgument, match="closed"):
            await session.read(0, 1)

    run(work)


def test_a_daemon_that_goes_ends_every_operation() -> None:
    async def work() -> None:
        server = Server()
        with server.build("gone") as image:
            image.grow(1)
        session = await package.connect(server.uri("gone"), access="read")
        await asyncio.get_running_loop().run_in_executor(None, server.close)
        for _ in range(3):
            with pytest.raises(package.ConnectionLost):
                await session.read(0, 1)
        # Whether the lease is free can't be known; it is closed all the same.
        with pytest.raises(package.ConnectionLost):
            await session.close()
        assert session.closed
        await session.close()

    run(work)


def test_after_close_the_lease_is_free(pageserver: Server) -> None:
    with pageserver.build("freed") as image:
        image.grow(1)

    async def work() -> None:
        for _ in range(10):
            session = await package.connect(pageserver.uri("freed"))
            await session.write(0, b"x")
            closing = asyncio.ensure_future(session.close())
            await asyncio.sleep(0)
            assert session.closed
            with pytest.raises(package.InvalidArgument, match="closed"):
                await session.read(0, 1)
            await closing

    run(work)


def test_what_was_raised_inside_is_not_hidden_by_the_close() -> None:
    async def work() -> None:
        server = Server()
        with server.build("gone") as image:
            image.grow(1)
        with pytest.raises(ZeroDivisionError):
            async with await package.connect(server.uri("gone"), access="read"):
                await asyncio.get_running_loop().run_in_executor(None, server.close)
                raise ZeroDivisionError

    run(work)


def test_a_request_times_out_by_the_session_s_own_clock(pageserver: Server, pageserver_image: str) -> None:
    async def work() -> None:
        # Answers nothing, and accepts everything.
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            daemon_reader, daemon_writer = await asyncio.open_unix_connection(pageserver.socket)
            try:
                while not stopped.is_set():
                    for source, target in ((reader, daemon_writer), (daemon_reader, writer)):
                        target.write(await source.read(65536))
                await over.wait()
            finally:
                writer.close()
                daemon_writer.close()

        stopped, over = asyncio.Event(), asyncio.Event()
        proxy = await asyncio.start_unix_server(silent, pageserver.socket + ".silent")
        uri = f"pageserver+unix:///{pageserver_image}?socket={pageserver.socket}.silent"
        session = await package.connect(uri, access="read", request_timeout=0.05)
        stopped.set()
        for _ in range(2):
            with pytest.raises(package.TimedOut):
                await session.read(0, 1)
                await session.read(0, 1)
        with pytest.raises(package.TimedOut):
            await session.close()
        over.set()
        proxy.close()
        await proxy.wait_closed()

    run(work)


def test_only_a_daemon_s_stores_are_opened_so() -> None:
    async def work() -> None:
        with pytest.raises(package.Unsupported, match="need a daemon"):
            await package.connect("heap:")

    run(work)
