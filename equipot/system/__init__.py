"""Settings of PyTorch, hardware, versions, interrupts and the terminal."""
