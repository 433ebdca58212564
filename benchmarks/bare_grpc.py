"""A gRPC server that answers each search with the same ready response: what gRPC alone allows."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from whymatch.v1 import search_service_pb2, search_service_pb2_grpc


@contextmanager
def bare_grpc_server() -> Iterator[str]:
    """Start the server in a process of its own, and yield its address."""
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Queue()
    server = spawn.Process(target=_serve, args=(port,), daemon=True)
    server.start()
    try:
        yield f"127.0.0.1:{port.get()}"
    finally:
        server.terminate()
        server.join()


def _serve(port: "multiprocessing.Queue[int]") -> None:
    asyncio.run(_server(port))


async def _server(port: "multiprocessing.Queue[int]") -> None:
    match = search_service_pb2.Match(score=0.5)
    match.image.name = "galleries/default/images/12345"
    match.image.content_sha256 = "0" * 64
    response = search_service_pb2.SearchResponse(model="0" * 32, matches=[match] * 10)

    class Bare(search_service_pb2_grpc.SearchServiceServicer):
        async def Search(self, request: object, context: object) -> object:
            return response

    server = grpc.aio.server()
    search_service_pb2_grpc.add_SearchServiceServicer_to_server(Bare(), server)
    port.put(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()
