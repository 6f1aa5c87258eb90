"""The command line: one file per command. Commands import torch when they run, not when help is printed."""
