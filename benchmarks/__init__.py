"""Measures what the README promises, each as a ratio of two things measured in turn in the same run.

Files that measure quality and not speed are called `quality_...`.
"""
