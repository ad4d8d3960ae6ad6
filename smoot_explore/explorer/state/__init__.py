"""What a visitor has chosen and what follows from it, without any user interface."""
