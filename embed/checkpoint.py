"""The tensors of a checkpoint, whatever wraps them, under the names that a network has for them.

Training programs put a network's state under a key (`state_dict`, `model`) and a word before each name (`module.`,
`_orig_mod.`, `model.`). Any such word will do here, as long as all tensors of the trunk are found behind it.
"""

import argparse
import pickle
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whymatch.embed.errors import BadModel

State = Mapping[str, torch.Tensor]

OWN_KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "module", "backbone", "encoder", "student")
"""Keys of dictionaries under which training programs save the network that they train."""
COPY_KEYS = ("state_dict_ema", "model_ema", "ema_model", "ema", "ema_state_dict", "shadow", "teacher")
"""Keys of its running mean; it is taken where the network itself is not there."""
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that DataParallel, torch.compile and their like put before or into the name of a layer."""
HEADS = frozenset({"fc", "head", "heads", "classifier", "last_linear"})
"""First parts of the names of what replaces a classifier."""
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""torchvision's own files name DenseNet's layers `norm.1`, its network `norm1`."""
SHOWN = 3
"""How many names a message shows."""


def read_checkpoint(path: Path) -> list[State]:
    """Read the states that a file of torch holds: that of the network first, then its running means.

    Raises:
        BadModel: the file is none of torch's, or holds a pickled network or no tensors.
    """
    try:
        with torch.serialization.safe_globals(_harmless()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as err:
        reason = str(err).strip().partition("\n")[0]
        raise BadModel(
            f"{str(path)!r} is not a file of weights that torch can load safely ({reason}); save `model.state_dict()`"
        ) from err
    states = list(_states(loaded))
    if not states:
        raise BadModel(f"{str(path)!r} holds no dictionary of tensors; save `model.state_dict()`")
    return states


def fitting(states: Collection[State], wanted: State, trunk: Collection[str], *, source: str, network: str) -> State:
    """Return the tensors that fit a network, by its own names for them.

    wanted: the network's own tensors; what lies above the trunk may be missing, or be there for other classes.
    trunk: the names of those without which it has no feature map.
    source, network: what messages call the two.

    Raises:
        BadModel: tensors of the trunk are missing, the network has no place for some, or they are not finite.
    """
    unwrapped = [_unwrapped(state, wanted) for state in states]
    prefixes = [_prefix(state, wanted, trunk) for state in unwrapped]
    found = [sum(prefix + name in state for name in trunk) for state, prefix in zip(unwrapped, prefixes, strict=True)]
    best = found.index(max(found))
    state, prefix = unwrapped[best], prefixes[best]
    named = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    fits = {name: tensor for name, tensor in named.items() if name in wanted and tensor.shape == wanted[name].shape}
    misfit = _Misfit(
        missing=[name for name in trunk if name not in fits],
        left_over=[name for name in named if name not in wanted and not _may_be_left(name, wanted, trunk)],
    )
    if misfit.missing or misfit.left_over:
        raise BadModel(f"{source} does not fit {network}: {misfit}{_names_seen(state, wanted, prefix, misfit)}")
    damaged = [name for name, tensor in named.items() if not _is_finite(tensor)]
    if damaged:
        raise BadModel(
            f"{source} holds numbers that are not finite in {len(damaged)} of its tensors, {_first(damaged)}; "
            "take the file of an earlier step of the training, or fetch it anew"
        )
    return fits


@dataclass(frozen=True)
class _Misfit:
    missing: list[str]
    left_over: list[str]

    def __str__(self) -> str:
        texts = []
        if self.missing:
            texts.append(
                f"{len(self.missing)} of its tensors are missing or of another shape, {_first(self.missing)}; "
                "pass the weights of this very network"
            )
        if self.left_over:
            texts.append(
                f"{len(self.left_over)} tensors are left over, for which it has no layer, {_first(self.left_over)}; "
                "pass the name of the network that the file belongs to, perhaps a larger one of its family"
            )
        return "; ".join(texts)


def _harmless() -> list[Any]:
    """Return the classes of values beside the weights that training programs save: their options, and NumPy's numbers.

    None of them runs code of the file.
    """
    scalar = np.float64(0).__reduce__()[0]
    return [argparse.Namespace, scalar, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?"))]


def _states(loaded: object) -> Iterator[State]:
    """Yield the dictionaries of tensors in nested ones."""
    if not isinstance(loaded, dict):
        return
    for key in (*OWN_KEYS, *COPY_KEYS):
        yield from _states(loaded.get(key))
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    if tensors:
        yield tensors


def _unwrapped(state: State, wanted: State) -> State:
    """Leave out of each name what compilers and parallel trainers put into it."""
    taken = WRAPPERS.difference(*(name.split(".") for name in wanted))
    return {
        _OLD_DENSENET.sub(r"\1\2", ".".join(part for part in name.split(".") if part not in taken)): tensor
        for name, tensor in state.items()
    }


def _prefix(state: State, wanted: State, trunk: Collection[str]) -> str:
    """Return what stands before the names of most tensors of the trunk; of equals the network's own, not its mean."""
    required = frozenset(trunk)
    found: Counter[str] = Counter()
    for name, tensor in state.items():
        parts = name.split(".")
        for number in range(len(parts)):
            rest = ".".join(parts[number:])
            if rest in required and tensor.shape == wanted[rest].shape:
                found["".join(f"{part}." for part in parts[:number])] += 1
    return max(found, key=lambda prefix: (found[prefix], not _is_copy(prefix)), default="")


def _is_copy(prefix: str) -> bool:
    return any(part in COPY_KEYS for part in prefix.split("."))


def _may_be_left(name: str, wanted: State, trunk: Collection[str]) -> bool:
    """Say whether a tensor is of another classifier, of a head of the training, or of a running mean."""
    first = name.partition(".")[0]
    above = {each.partition(".")[0] for each in wanted if each not in trunk}
    above -= {each.partition(".")[0] for each in trunk}
    beside = first.lower().startswith("aux") or first in (*COPY_KEYS, "n_averaged")
    return beside or first in above | HEADS or name.endswith("num_batches_tracked")


def _names_seen(state: State, wanted: State, prefix: str, misfit: _Misfit) -> str:
    """Say how the file and the network name their tensors, if that may be why they do not fit."""
    if not misfit.missing:
        return ""
    seen = next((name for name in state if name.startswith(prefix)), next(iter(state)))
    words = prefix or _common_start(state)
    begin = f"begin with {words!r}, as" if words else "are like"
    return f" (the names of the file {begin} {seen!r}, those of the network are like {next(iter(wanted))!r})"


def _common_start(state: State) -> str:
    """Return the parts with which all names begin."""
    first, *others = [name.split(".")[:-1] for name in state]
    while first and not all(other[: len(first)] == first for other in others):
        first.pop()
    return "".join(f"{part}." for part in first)


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # float8 cannot be asked
    return bool(wide.isfinite().all())


def _first(names: list[str]) -> str:
    return f"first {', '.join(map(repr, names[:SHOWN]))}"
