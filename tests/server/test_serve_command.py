"""`whymatch serve` as a process of its own."""

import json
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sample_pictures import png
from server_harness import Api, Sender, clogged, connected, eventually, failure, outcome

from whymatch.server.config import ServerConfig
from whymatch.v1.embed_service_pb2 import GetModelRequest
from whymatch.v1.gallery_service_pb2 import AddImagesRequest, GetGalleryRequest, GetImageRequest

COMMAND = [sys.executable, "-m", "whymatch.server"]
LISTENING = "whymatch listening on "


@contextmanager
def served(data: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], Api]]:
    command = [*COMMAND, "--data", str(data), "--port", "0", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith(LISTENING), process.stderr.read()
            with connected(address=line.removeprefix(LISTENING).strip()) as api:
                yield process, api
        finally:
            process.kill()


def refused(*flags: object) -> tuple[int, str]:
    """Return exit code and stderr of a server that does not start; it says nothing on stdout."""
    done = subprocess.run([*COMMAND, *map(str, flags)], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_what_was_added_stays(tmp_path, number):
    with served(tmp_path) as (process, api):
        parent, sender = api.create("g"), Sender()
        stream = api.galleries.AddImages(sender)
        sender.send(AddImagesRequest(parent=parent, image_id="a", content=png(1)))
        next(stream)
        process.send_signal(number)
        assert failure(lambda: next(stream)) == ("UNAVAILABLE", "SHUTTING_DOWN")
        assert process.wait(20) == 0
        assert (tmp_path / "galleries" / "g" / "index.faiss").exists()
    with served(tmp_path) as (_, api):
        assert api.galleries.GetGallery(GetGalleryRequest(name=parent)).image_count == 1


def test_a_second_interrupt_ends_the_server_at_once(tmp_path):
    with served(tmp_path) as (process, api):
        parent = api.create("g")
        stream = clogged(api, parent)
        process.send_signal(signal.SIGINT)
        describe = GetGalleryRequest(name=parent)
        eventually(lambda: outcome(lambda: api.galleries.GetGallery(describe)), lambda found: found[0] != "OK")
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 1
        stream.cancel()


def test_mean_and_std_reach_the_model(tmp_path):
    with served(tmp_path, "--mean", "0.5,0.25,0", "--std", "1,0.5,0.25") as (_, api):
        preprocessing = json.loads(api.model(GetModelRequest()).description_json)["preprocessing"]
    assert (preprocessing["mean"], preprocessing["std"]) == ([0.5, 0.25, 0], [1, 0.5, 0.25])


def test_one_flag_names_the_model_and_the_other_settings_hold(tmp_path):
    with served(tmp_path, "--model", "bundled:gem", "--gem-power", "4", "--size-px", "128") as (_, api):
        description = json.loads(api.model(GetModelRequest()).description_json)
    assert (description["backbone"], description["pooling"]) == ("bundled", {"kind": "gem", "power": 4})
    assert description["preprocessing"]["size_px"] == 128


def test_each_call_is_one_line_of_json_with_the_request_id(tmp_path):
    with served(tmp_path) as (process, api):
        parent = api.create("g")
        request = GetImageRequest(name=f"{parent}/images/no")
        _, call = api.galleries.GetGallery.with_call(
            GetGalleryRequest(name=parent), metadata=(("x-request-id", "mine-1"),)
        )
        assert ("x-request-id", "mine-1") in call.trailing_metadata()
        failed = api.galleries.GetImage.future(request, metadata=(("x-request-id", "not sane!"),))
        made = dict(failed.trailing_metadata())["x-request-id"]
        process.terminate()
        lines = [json.loads(line) for line in process.stderr]
    calls = [line for line in lines if line["message"] == "call"]
    assert [(line["method"], line["code"], line["reason"]) for line in calls] == [
        ("GalleryService/CreateGallery", "OK", ""),
        ("GalleryService/GetGallery", "OK", ""),
        ("GalleryService/GetImage", "NOT_FOUND", "UNKNOWN_IMAGE"),
    ]
    assert [line["request_id"] for line in calls[1:]] == ["mine-1", made]
    assert made != "not sane!"
    assert all(line["duration_ms"] > 0 and line["peer"] and line["time"] for line in calls)


def test_the_log_begins_and_ends_with_a_line_of_the_server(tmp_path):
    with served(tmp_path) as (process, api):
        fingerprint = api.model(GetModelRequest()).fingerprint
        process.terminate()
        lines = [json.loads(line) for line in process.stderr]
    first, last = lines[0], lines[-1]
    assert (first["message"], first["model"], first["data"]) == ("serving", fingerprint, str(tmp_path))
    assert first["version"]
    assert first["address"].startswith("127.0.0.1:")
    assert last["message"].startswith("stopped")


def test_metrics_count_calls_and_images(tmp_path):
    port = free_port()
    with served(tmp_path, "--metrics-port", str(port)) as (_, api):
        api.add(api.create("g"), {"a": png(1), "b": b"no image"})
        page = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics")
        with page:
            text = page.read().decode()
    assert 'whymatch_calls_total{code="OK",method="GalleryService/AddImages"} 1.0' in text
    assert 'whymatch_call_duration_seconds_count{method="GalleryService/CreateGallery"} 1.0' in text
    assert "whymatch_images_added_total 1.0" in text
    assert "whymatch_calls_in_flight 0.0" in text


def test_a_port_in_use_is_one_line_and_exit_code_1(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused("--data", tmp_path, "--port", taken.getsockname()[1])
    assert code == 1
    assert said.splitlines()[-1].startswith("whymatch: cannot listen on 127.0.0.1:")


def test_a_data_directory_in_use_is_one_line_and_exit_code_1(tmp_path):
    with served(tmp_path):
        code, said = refused("--data", tmp_path, "--port", 0)
    assert (code, said.count("\n")) == (1, 1)
    assert "another server uses the data directory" in said


def test_a_model_that_does_not_exist_is_one_line_and_exit_code_1(tmp_path):
    code, said = refused("--data", tmp_path, "--port", 0, "--backbone", "no_such_network")
    assert (code, said.count("\n")) == (1, 1)
    assert "no_such_network" in said


def test_a_weights_file_that_is_not_there_is_one_line_and_exit_code_1(tmp_path):
    code, said = refused("--data", tmp_path, "--port", 0, "--model", "missing.safetensors:max")
    assert (code, said) == (1, "whymatch: there is no weights file 'missing.safetensors'\n")


@pytest.mark.parametrize(
    "flags",
    [
        ("--model", "bundled", "--backbone", "bundled"),
        ("--model", "bundled", "--pooling", "max"),
        ("--pooling", "median"),
        ("--port", "70000"),
        ("--mean", "1,2"),
        ("--mean", "nan,0,0"),
        ("--std", "1,1,0"),
        ("--std", "1,1,-1"),
        ("--std", "1,inf,1"),
        ("--gem-power", "nan"),
        ("--grace-s", "nan"),
        ("--stream-idle-s", "0"),
        ("--tls-key", "key.pem"),
        ("--tls-client-ca", "ca.pem"),
        ("--weights", "missing.pth"),
        ("--max-limit", "0"),
        ("surplus",),
    ],
)
def test_misuse_is_exit_code_2(flags):
    code, said = refused(*flags)
    assert (code, flags[0] in said) == (2, True)


def test_help_names_every_setting_and_imports_nothing_heavy():
    program = (
        "import sys; sys.argv = ['serve', '--help']\n"
        "from whymatch.server.command import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'torch', 'faiss', 'grpc', 'numpy'} & set(sys.modules)))"
    )
    wide = {"COLUMNS": "200", "TERM": "dumb", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=wide)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"--{name.replace('_', '-')}" in done.stdout for name in ServerConfig.__dataclass_fields__)
    assert "whymatch serve" in done.stdout


def free_port() -> int:
    """Return a port that nobody gets who asks for any."""
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
