"""``python -m cellwright``: the command line, as torchrun and friends start it."""

from cellwright.cli.main import main

if __name__ == "__main__":
    main()
