"""Measures what the README promises, each as a ratio of two things measured in the same run."""
