"""The Python client: search, explanations and galleries over gRPC, without torch or faiss.

`__init__.pyi` lists the public names. Each is imported when it is first used, so that `whymatch --help` need not wait
for NumPy and gRPC.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
