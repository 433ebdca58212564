"""Pictures drawn with Pillow from values: no calls, no files."""
