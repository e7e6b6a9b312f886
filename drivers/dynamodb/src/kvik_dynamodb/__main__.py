"""Run the driver's commands: ``python -m kvik_dynamodb doctor --table NAME``."""

import sys

from ._doctor import main

if __name__ == "__main__":
    sys.exit(main())
