"""Pictures drawn with Pillow from values: no calls, and no files but those that a `write_...` function saves."""
