"""A warning about work that was asked for and never begun, as Python gives it for a coroutine that nobody awaits."""

import warnings


class Reminder:
    """Warns when it is dropped before it is settled.

    As an argument of a generator it lives until the generator begins, or is dropped without having begun.
    """

    def __init__(self, message: str) -> None:
        self._message = message

    def settle(self) -> None:
        """What it reminds of is being done."""
        self._message = ""

    def __del__(self) -> None:
        if self._message:
            warnings.warn(self._message, RuntimeWarning, stacklevel=2)
