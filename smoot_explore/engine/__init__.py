"""Work that takes long, beside whoever waits for it."""
