"""Entry of the bridge: ``python main.py`` with the host's channel as its stdin.

Importing this file does nothing: engines that spawn processes import it again.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

if __name__ == "__main__":
    from taps_wasm._bridge import main

    main()
