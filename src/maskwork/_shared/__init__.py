"""What every folder may use: one rule each for numbers, texts, files, folders, checksums and lazy exports."""
