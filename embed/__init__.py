"""Image bytes to feature map to embedding: decoding, geometry, backbones, pooling, linear head.

`__init__.pyi` lists the names. Each is imported when it is first used, for `whymatch.embed.pictures`, which the client
shares, needs no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
