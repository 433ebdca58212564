"""The paper's classifier: a linear support vector machine on descriptors of length 1."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from whymatch.embed import Array, normalized

SLACK = 10.0
"""C, as in the paper."""


@dataclass(frozen=True)
class Accuracy:
    """How often a classifier names the class of an image."""

    mean: float
    """Over the classes, of the share of each one's test images that it names, 0 to 1."""
    converged: bool
    """Whether the classifier found its optimum within scikit-learn's usual number of steps."""


def accuracy_of(vectors: Array, labels: NDArray[np.str_], training: NDArray[np.bool_]) -> Accuracy:
    """Train a classifier on some images and test it on the others.

    vectors: (n, C), of any length; they are scaled to 1. Each class has some of both kinds.

    The machine is LIBLINEAR's with its squared hinge loss, one class against the rest, with a bias.
    """
    scaled = normalized(vectors)
    machine = LinearSVC(C=SLACK, dual="auto", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(scaled[training], labels[training])
    named = machine.predict(scaled[~training]) == labels[~training]
    shares = [named[labels[~training] == label].mean() for label in np.unique(labels[~training])]
    return Accuracy(float(np.mean(shares)), bool(machine.n_iter_ < machine.max_iter))


def concatenated(parts: Sequence[Array]) -> Array:
    """Put the descriptors (n, C) of several layers side by side, each scaled to length 1 before.

    The scale of a weighed descriptor has no meaning, so no layer should count for more than another.
    """
    return np.concatenate([normalized(part) for part in parts], axis=1)
