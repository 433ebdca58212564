"""Facts of the bundled model that tests rely on."""

DIMENSIONS = 512
