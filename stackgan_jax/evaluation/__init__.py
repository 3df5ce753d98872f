"""How good pictures are: metrics, what they read, protocols, stamps, runs and folders."""
