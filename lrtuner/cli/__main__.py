"""`python -m lrtuner.cli` is `lrtuner`."""

from lrtuner.cli import main

if __name__ == "__main__":
    main()
