"""The one place that imports torchvision, so that its models load beside a CPU build of torch, too."""

from types import ModuleType

import torch

_declared: list[torch.library.Library] = []  # a declaration lives as long as its object


def import_models() -> ModuleType:
    """Return `torchvision.models`.

    A torchvision built for CUDA cannot load its compiled operators beside a CPU build of torch, and its import stops
    at `operator torchvision::nms does not exist`. Then the two operators that the import looks up are declared; no
    classification network calls them.
    """
    try:
        from torchvision import models
    except RuntimeError as err:
        if "torchvision::nms" not in str(err):
            raise
        _declare_operators()
        from torchvision import models
    return models  # type: ignore[no-any-return]


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(signature)  # type: ignore[no-untyped-call]
    _declared.append(library)
