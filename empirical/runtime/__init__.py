"""What every run stands on: seeds, threads, devices, memory, compilers, checkpoints, locks, registries of names."""
