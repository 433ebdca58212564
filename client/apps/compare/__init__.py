"""`whymatch compare`: the same queries under several models, side by side."""
