"""`whymatch demo`: the main job on real photographs, from an empty folder to a report with pictures."""
