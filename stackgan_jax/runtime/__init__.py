"""The base of all other packages: devices, processes, compilation, paths, files, errors."""
