"""Image files to upright RGB pixels, the same for server and client: formats, depths, profiles, metadata.

`__init__.pyi` lists the names. Each is imported when it is first used, so that finding files needs no Pillow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
