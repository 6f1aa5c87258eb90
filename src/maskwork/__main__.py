"""`python -m maskwork` is the `maskwork` command."""

from .cli.main import main

if __name__ == "__main__":
    main()
