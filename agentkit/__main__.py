"""`python -m agentkit`, which imports nothing from the current folder: that may be a download."""

import os
import sys

if not sys.flags.safe_path and sys.path[0] == os.getcwd():
    del sys.path[0]

from agentkit.cli.main import main

main()
