"""Long work in another thread, whose progress an event loop reads."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor
from typing import TypeVar

SIGN_OF_LIFE_S = 1.0
"""How long a call that is at work stays silent at most."""

Step = TypeVar("Step")


async def steps(steps: Iterator[Step], executor: Executor | None = None) -> AsyncGenerator[Step | None]:
    """Yield what is yielded in another thread, and None where that takes long, so that a client knows it goes on.

    executor: whose thread that is, by default one of the event loop's. A step that has begun when this is closed ends.
    """
    loop = asyncio.get_running_loop()
    while True:
        step = loop.run_in_executor(executor, next, steps, None)
        step.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, though nobody may wait
        try:
            while not (await asyncio.wait([step], timeout=SIGN_OF_LIFE_S))[0]:
                yield None
        finally:
            step.cancel()  # one that still waits for the thread
        result = step.result()
        if result is None:
            return
        yield result
