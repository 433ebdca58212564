"""`kill -9` while images are added, changed or deleted.

What was acknowledged stays, and nothing else is there than what was sent; every generation stays what it was.
"""

import itertools
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sample_pictures import png

from whymatch.client import Client, NewImage, Unavailable
from whymatch.client.apps.local_server import FIRST_LINE


@contextmanager
def served(data: Path) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """Start a server, and kill it at the end if the test has not."""
    command = [sys.executable, "-m", "whymatch.server", "--data", str(data), "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith(FIRST_LINE)
            with Client(line.removeprefix(FIRST_LINE).strip()) as client:
                yield process, client
        finally:
            process.kill()


class Record:
    """What a client sent over several streams, and what the server acknowledged."""

    def __init__(self) -> None:
        self.sent: dict[str, bytes] = {}
        self.acknowledged: set[str] = set()
        self._seeds = itertools.count()

    def images(self) -> Iterator[NewImage]:
        """Images without end, each noted before it is sent."""
        for seed in self._seeds:
            self.sent[f"{seed}.png"] = png(seed)
            yield NewImage(png(seed), f"{seed}.png")

    def add_until_killed(self, server: subprocess.Popen[str], client: Client, dice: random.Random) -> None:
        """Kill the server some answers into a stream, plus a moment, which ends anywhere in a transaction."""
        last, moment_s = dice.randrange(40), dice.uniform(0, 0.1)
        with suppress(Unavailable):
            for count, added in enumerate(client.add(self.images())):
                assert added.error is None
                self.acknowledged.add(added.name)
                if count == last:
                    threading.Timer(moment_s, server.kill).start()
        assert server.wait() == -signal.SIGKILL

    def compare(self, client: Client) -> None:
        """Check that every acknowledged image is stored, and that every stored image is whole and can be found."""
        stored = {image.name for image in client.list()}
        assert self.acknowledged <= stored <= set(self.sent)
        for name in stored:
            assert client.content(name) == self.sent[name]
            [match] = client.search(self.sent[name], limit=1, with_maps=True)
            assert (match.name, match.score) == (name, pytest.approx(1, abs=1e-5))
            assert match.match_map.total == pytest.approx(match.score, abs=1e-3)


@pytest.mark.timeout(180)
def test_a_killed_server_keeps_what_it_acknowledged_and_goes_on(tmp_path):
    dice, record = random.Random(2), Record()
    with served(tmp_path) as (server, client):
        client.create_gallery("default")
        record.add_until_killed(server, client, dice)
    for _ in range(3):
        with served(tmp_path) as (server, client):
            record.compare(client)
            record.add_until_killed(server, client, dice)
    with served(tmp_path) as (_, client):
        record.compare(client)
        client.add_image(png(10**6), name="after.png")
        assert client.search(png(10**6), limit=1)[0].name == "after.png"
    assert len(record.acknowledged) < len(record.sent)


class Changes:
    """What a gallery was at each generation, as labels by name, and what it is after a call that was cut off."""

    def __init__(self, count: int) -> None:
        self.now = {f"{seed}.png": f"label {seed % 3}" for seed in range(count)}
        self.perhaps = self.now
        """The same, or what the last call was to make of it."""
        self.history: dict[int, dict[str, str]] = {}

    def change_until_killed(self, server: subprocess.Popen[str], client: Client, dice: random.Random) -> None:
        """Change images one call after the other; the server is killed within three tenths of a second."""
        threading.Timer(dice.uniform(0, 0.3), server.kill).start()
        with suppress(Unavailable):
            while self.now:
                self._change(client, dice)
                self.now = self.perhaps
                self.history[client.get_gallery("default").generation] = self.now
        assert server.wait() == -signal.SIGKILL

    def _change(self, client: Client, dice: random.Random) -> None:
        name, label = dice.choice(sorted(self.now)), f"label {dice.randrange(3)}"
        match dice.randrange(10):
            case 0:
                self.perhaps = {one: label for one, label in self.now.items() if one != name}
                client.delete(name)
            case 1:
                self.perhaps = {one: its for one, its in self.now.items() if its != label or one < name}
                client.delete_where(f'label = "{label}" AND name >= "{name}"')
            case _:
                self.perhaps = {**self.now, name: label}
                client.update(name, label=label)

    def compare(self, client: Client) -> None:
        """Check that the last call has happened whole or not at all, and that all generations are what they were."""
        found = labels(client)
        assert found in (self.now, self.perhaps)
        self.now = self.perhaps = found
        for generation, then in self.history.items():
            assert labels(client, generation) == then
        assert len(client.search(png(0), limit=100)) == len(found)


def labels(client: Client, generation: int | None = None) -> dict[str, str]:
    return {image.name: image.label for image in client.list(at_generation=generation)}


@pytest.mark.timeout(180)
def test_a_killed_server_has_made_each_change_whole_or_not_at_all(tmp_path):
    dice, changes = random.Random(3), Changes(40)
    with served(tmp_path) as (server, client):
        client.create_gallery("default")
        new = (NewImage(png(seed), f"{seed}.png", label=f"label {seed % 3}") for seed in range(40))
        assert all(added.error is None for added in client.add(new))
        changes.change_until_killed(server, client, dice)
    for _ in range(4):
        with served(tmp_path) as (server, client):
            changes.compare(client)
            changes.change_until_killed(server, client, dice)
    with served(tmp_path) as (_, client):
        changes.compare(client)
    assert len(changes.history) > 5
