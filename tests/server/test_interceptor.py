import asyncio

import grpc
import pytest
from server_harness import reason

from whymatch.server.access import Tokens
from whymatch.server.interceptor import CallInterceptor
from whymatch.server.metrics import Metrics
from whymatch.v1.embed_service_pb2 import GetModelRequest
from whymatch.v1.embed_service_pb2_grpc import (
    EmbedServiceServicer,
    EmbedServiceStub,
    add_EmbedServiceServicer_to_server,
)


class Slow(EmbedServiceServicer):
    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = False

    async def GetModel(self, request, context):
        self.begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            self.ended = True


def test_a_call_that_outlives_the_grace_is_told_why_before_it_is_cut_off():
    async def scenario() -> tuple[grpc.aio.AioRpcError, bool]:
        calls = CallInterceptor(Tokens(), Metrics(), max_calls=2, default_deadline_s=60, stopping=asyncio.Event())
        server, slow = grpc.aio.server(interceptors=[calls]), Slow()
        add_EmbedServiceServicer_to_server(slow, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = EmbedServiceStub(channel).GetModel(GetModelRequest(), timeout=30)
            await slow.begun.wait()
            await calls.drain(0.1)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
        await server.stop(1)
        return caught.value, slow.ended

    error, ended = asyncio.run(scenario())
    assert (error.code(), reason(error), ended) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", True)
