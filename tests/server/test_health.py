import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from server_harness import connected, serving

from whymatch.server import ServerConfig

SERVICES = {f"whymatch.v1.{name}Service" for name in ("Gallery", "Search", "Explain", "Embed")}
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", *sorted(SERVICES)])
def test_every_service_is_serving(api, service):
    stub = health_pb2_grpc.HealthStub(api.channel)
    assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING


def test_an_unknown_service_is_not_found(api):
    with pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(api.channel).Check(health_pb2.HealthCheckRequest(service="other"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_says_when_the_server_stops(model, tmp_path):
    with serving(ServerConfig(data=tmp_path, port=0), model) as server, connected(server) as api:
        watch = health_pb2_grpc.HealthStub(api.channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == SERVING
        server.stop()
        assert next(watch).status == NOT_SERVING


def test_reflection_lists_the_services(api):
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]))
    listed = {service.name for service in answer.list_services_response.service}
    assert listed >= SERVICES | {"grpc.health.v1.Health"}


def test_an_unknown_method_is_unimplemented(api):
    with pytest.raises(grpc.RpcError) as caught:
        api.channel.unary_unary("/whymatch.v1.SearchService/Guess")(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
