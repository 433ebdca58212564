"""What a server says of itself, through a channel."""

import faiss
import torch
from server_harness import api_of

from whymatch.server import ServerConfig
from whymatch.v1.embed_service_pb2 import GetModelRequest
from whymatch.v1.server_service_pb2 import GetServerInfoRequest


def test_a_server_says_what_runs_and_what_it_accepts(model, tmp_path):
    config = ServerConfig(data=tmp_path, port=0, max_image_bytes=2**20, max_image_pixels=10**6, max_limit=7)
    with api_of(config, model) as api:
        api.create("a")
        api.create("b")
        info, described = api.server_info(GetServerInfoRequest()), api.model(GetModelRequest())
        later = api.server_info(GetServerInfoRequest())
    assert info.model == described
    assert (info.faiss_version, info.torch_version) == (faiss.__version__, torch.__version__)
    assert info.version
    limits = info.limits
    assert (limits.max_image_bytes, limits.max_image_pixels, limits.max_limit) == (2**20, 10**6, 7)
    assert (limits.max_message_bytes, limits.max_concurrent_calls) == (3 * 2**20, 64)
    assert info.gallery_count == 2
    assert 0 < info.uptime_s < later.uptime_s
    assert 0 < info.disk.free_bytes + info.disk.used_bytes <= info.disk.total_bytes
