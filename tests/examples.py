"""How many examples a property test tries: as many as it says, ten times as many in `make fuzz`."""

import os

FUZZING = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"


def examples(count: int) -> int:
    return 10 * count if FUZZING else count
