"""The root of the error tree, and the errors of images, models and requests.

Each error that a caller can cause has a `reason`, the name that programs see; `errors.proto` lists them.
"""


class WhymatchError(Exception):
    """An error that the caller can fix; the message says how."""

    reason = "INTERNAL"


class BadRequest(WhymatchError):
    """A request can never succeed as it is; the message says what to change."""

    reason = "BAD_REQUEST"


class NotAnImage(WhymatchError):
    """The bytes are not an image of a known format."""

    reason = "NOT_AN_IMAGE"


class BrokenImage(WhymatchError):
    """The image ends early or is damaged."""

    reason = "BROKEN_IMAGE"


class ImageTooLarge(WhymatchError):
    """The image has more bytes than the limit."""

    reason = "IMAGE_TOO_LARGE"


class TooManyPixels(WhymatchError):
    """The image has more pixels than the limit."""

    reason = "TOO_MANY_PIXELS"


class BadVector(WhymatchError):
    """A vector cannot be an embedding of this model."""

    reason = "BAD_VECTOR"


class BadHead(WhymatchError):
    """The numbers of a head do not fit the model."""

    reason = "BAD_HEAD"


class TooFewImages(WhymatchError):
    """There are too few different images to fit a head or a sampler to."""

    reason = "TOO_FEW_IMAGES"


class BadModel(WhymatchError):
    """A model cannot be loaded as asked."""

    reason = "BAD_MODEL"


class BadLayer(WhymatchError):
    """A layer, or its supervision, cannot be used as asked."""

    reason = "BAD_LAYER"


class NoClassScores(WhymatchError):
    """The network scores no classes."""

    reason = "NO_CLASS_SCORES"


class NoReluLayers(WhymatchError):
    """The network has no layers with a ReLU, which InterActive weighs."""

    reason = "NO_RELU_LAYERS"


class BadFolder(WhymatchError):
    """A folder of images cannot be used as asked; only commands that read folders raise it."""

    reason = "BAD_FOLDER"


class TrainingFailed(WhymatchError):
    """A training run cannot begin or go on; the message says why, and what is kept."""

    reason = "TRAINING_FAILED"
