"""What computes: the device, its memory, random numbers."""
