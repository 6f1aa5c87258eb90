"""What every folder may use: one rule each for integers, files, folders and checksums."""
