"""``python -m pyro_vae.cli``, where the command itself is not on the path."""

import sys

from pyro_vae.cli import main

if __name__ == "__main__":
    sys.exit(main())
