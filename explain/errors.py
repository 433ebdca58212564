"""The errors of explanations."""

from whymatch.embed import WhymatchError


class BadRegion(WhymatchError):
    """A region cannot be a part of its image."""

    reason = "BAD_REGION"


class EmptyRegion(WhymatchError):
    """The regions weigh no cell: the network does not see them, or they cancel out."""

    reason = "EMPTY_REGION"


class ExamplesCancel(WhymatchError):
    """Examples to be like and to be unlike cancel each other out."""

    reason = "EXAMPLES_CANCEL"

    def __init__(self) -> None:
        super().__init__("the examples cancel each other out; change a weight, or leave out what is on both sides")


class NoLabeledPairs(WhymatchError):
    """There are no two images of one label to compare."""

    reason = "NO_LABELED_PAIRS"


class BadTarget(WhymatchError):
    """The target of an explanation does not exist."""

    reason = "BAD_TARGET"


class BadWindow(WhymatchError):
    """Windows, samples or batches cannot have that size."""

    reason = "BAD_WINDOW"
