"""Pictures made of the pictures of a batch, so that a few thousand images show a teacher more than they contain."""

import torch
from torch.nn import functional

COLOR = 0.4
"""Red, green and blue are scaled by up to this much, each by itself."""


def mixed(pixels: torch.Tensor, share: float) -> torch.Tensor:
    """Return pixels (B, 3, h, w), 0 to 255, in other colors, a share of them mixed with another image of the batch.

    The other is pasted in, seen in blobs or shown through. All random numbers come from torch.
    """
    others = pixels[torch.randperm(len(pixels))]
    images = []
    for image, other in zip(pixels, others, strict=True):
        if torch.rand(()) < share:
            how = (_pasted, _in_blobs, _through_each_other)[int(torch.randint(3, ()))]
            image = how(image, other)
        images.append(image * (1 + COLOR * (2 * torch.rand(3, 1, 1) - 1)))
    return torch.stack(images).clamp(0, 255)


def _pasted(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Paste the other image into a rectangle, a fifth to four fifths of each side."""
    sides = [int(side * float(torch.empty(()).uniform_(0.2, 0.8))) for side in image.shape[1:]]
    top, left = (int(torch.randint(whole - part + 1, ())) for whole, part in zip(image.shape[1:], sides, strict=True))
    result = image.clone()
    small = functional.interpolate(other[None], sides, mode="bilinear", antialias=True)[0]
    result[:, top : top + sides[0], left : left + sides[1]] = small
    return result


def _in_blobs(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Show the other image where smooth noise is positive."""
    coarse = int(torch.randint(3, 8, ()))
    noise = functional.interpolate(torch.randn(1, 1, coarse, coarse), image.shape[1:], mode="bicubic")[0]
    return torch.where(noise > 0, other, image)


def _through_each_other(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Average both, with a random weight."""
    return torch.lerp(image, other, float(torch.empty(()).uniform_(0.2, 0.8)))
