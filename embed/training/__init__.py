"""Training of embedding networks: on labels, or from a teacher."""
