"""Notices a stream that has stopped moving: all of it may take hours, but no answer may take longer than a call."""

from __future__ import annotations

import time


class Pace:
    """Counts the answers that a stream owes us, and the time that the next one is late."""

    def __init__(self) -> None:
        self.unanswered = 0
        """How many answers are still to come."""
        self._listening = False
        self._since = time.monotonic()

    def send(self) -> None:
        """A request goes out; if none was on its way, the waiting begins now."""
        if self.unanswered == 0:
            self._since = time.monotonic()
        self.unanswered += 1

    def listen(self) -> None:
        """The caller asks for the next answer; the pause before was its own."""
        self._since = time.monotonic()
        self._listening = True

    def answer(self) -> None:
        """The next answer is here."""
        self.unanswered -= 1
        self._listening = False

    def waiting_s(self) -> float:
        """Return for how long an answer has been due, in seconds."""
        return time.monotonic() - self._since if self._listening and self.unanswered else 0.0
