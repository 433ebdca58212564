"""What can be wrong with a file that is no damage."""


class Unreadable(ValueError):
    """The file is of a kind that is not read; the message names it and says what to do."""
