"""Names of the code as people read them."""


def in_words(name: str) -> str:
    """``"integrated_gradients"`` as "integrated gradients"."""
    return name.replace("_", " ")
