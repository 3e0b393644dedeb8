"""Sixty-four reads in flight from one thread: many_in_flight.py [URI]"""
import asyncio
import sys

import pageserver


async def main(uri: str) -> None:
    async with await pageserver.connect(uri, access="read") as session:
        blocks = await asyncio.gather(*(session.read(i * 4096, 4096) for i in range(64)))
        print(f"{len(blocks)} blocks, {sum(not any(block) for block in blocks)} of zeros")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "pageserver://127.0.0.1/demo"))
