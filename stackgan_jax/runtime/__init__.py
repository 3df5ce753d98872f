"""What the rest stands on: devices, processes, compilation, paths, files, errors."""
