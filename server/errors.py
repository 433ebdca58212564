"""The errors that the server itself finds; those of images and galleries come from their own packages."""

from whymatch.embed import WhymatchError


def named(err: WhymatchError, what: str) -> WhymatchError:
    """Return an error for the same reason whose message begins with what it is about; others may hold `err`, too."""
    error = WhymatchError(f"{what}: {err}")
    error.reason = err.reason
    return error


class CannotStart(Exception):
    """The server cannot start as it was asked to; the message says why."""


class BadLimit(WhymatchError):
    """A limit or page size is out of range."""

    reason = "BAD_LIMIT"


class BadPageToken(WhymatchError):
    """A page token was not made by this server, or not for this request."""

    reason = "BAD_PAGE_TOKEN"

    def __init__(self, why: str = "is not one of this server's") -> None:
        super().__init__(f"the page token {why}; repeat a request with `next_page_token` of its page before")


class Unauthenticated(WhymatchError):
    """A call carries no token, or none that the server knows."""

    reason = "UNAUTHENTICATED"

    def __init__(self, *, given: bool) -> None:
        what = "the server does not know this token" if given else "this server requires a token"
        super().__init__(f"{what}; send one that it knows (`authorization: Bearer TOKEN`)")


class ReadOnlyToken(WhymatchError):
    """A token may only read."""

    reason = "READ_ONLY_TOKEN"

    def __init__(self, method: str) -> None:
        super().__init__(f"{method} changes data, but the token may only read; use one that may write")
        self.method = method


class TooManyCalls(WhymatchError):
    """The server runs as many calls as it may."""

    reason = "TOO_MANY_CALLS"

    def __init__(self, maximum: int) -> None:
        super().__init__(f"the server already runs {maximum} calls, the most it may; try again after a pause")
        self.maximum = maximum


class UnknownExplanation(WhymatchError):
    """No explanation of that name is kept."""

    reason = "UNKNOWN_EXPLANATION"

    def __init__(self, name: str) -> None:
        super().__init__(f"explanation {name[:80]!r} does not exist or has expired; send the whole request again")
        self.name = name


class ShuttingDown(WhymatchError):
    """The server is stopping."""

    reason = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__("the server is stopping; try again later or elsewhere")


class DeadlineExceeded(WhymatchError):
    """A call took longer than its deadline or than the server allows, or its client was silent for longer."""

    reason = "DEADLINE_EXCEEDED"
