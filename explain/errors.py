"""The errors of explanations."""

from whymatch.embed import WhymatchError


class BadRegion(WhymatchError):
    """A region cannot be a part of its image."""

    reason = "BAD_REGION"


class EmptyRegion(WhymatchError):
    """The regions together are nothing that the network sees."""

    reason = "EMPTY_REGION"


class NoLabeledPairs(WhymatchError):
    """There are no two images of one label to compare."""

    reason = "NO_LABELED_PAIRS"


class BadTarget(WhymatchError):
    """What is to be explained is not there."""

    reason = "BAD_TARGET"


class BadWindow(WhymatchError):
    """Windows, samples or batches cannot have that size."""

    reason = "BAD_WINDOW"
