"""Which class of a network each folder of images is."""

from collections.abc import Sequence

from whymatch.embed import BadFolder


def classes_of(labels: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return the number of the class of each label.

    Labels are names of classes, whatever their case and with `_` for spaces, or their numbers from 0. As many other
    labels as there are classes are these in alphabetical order, as the folders of ImageNet are.

    Raises:
        BadFolder: a label is no class, or several.
    """
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        numbers.setdefault(_plain(name), []).append(number)
    found = {label: numbers.get(_plain(label)) or _numbered(label, len(names)) for label in sorted(set(labels))}
    unknown = [label for label, classes in found.items() if not classes]
    if unknown and len(found) == len(names):
        return {label: number for number, label in enumerate(found)}
    if unknown:
        raise BadFolder(
            f"{len(unknown)} of {len(found)} folders name no class of the network, first {unknown[0]!r}; name each by "
            f"its class, for example {names[0]!r}, or its number from 0, or have one for each of the {len(names)} "
            "classes, in alphabetical order"
        )
    double = [label for label, classes in found.items() if len(classes) > 1]
    if double:
        several = ", ".join(map(str, found[double[0]]))
        raise BadFolder(f"several classes are named {double[0]!r}; name the folder by one of their numbers, {several}")
    return {label: classes[0] for label, classes in found.items()}


def _plain(name: str) -> str:
    return name.replace("_", " ").casefold().strip()


def _numbered(label: str, count: int) -> list[int]:
    return [int(label)] if label.isascii() and label.isdecimal() and int(label) < count else []
