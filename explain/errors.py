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
