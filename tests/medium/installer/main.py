"""Starts the installer of this medium's kind."""

import sys
import traceback
from pathlib import Path

import machine

if __name__ == "__main__":
    kind = Path("/run/installer/kind").read_text().strip()
    try:
        if kind == "ubuntu":
            import subiquity as installer
        else:
            import anaconda as installer
        installer.main()
    except Exception:
        # A fault of the miniature itself, which no test may take for one of an installer's.
        machine.say("tpl medium: a fault in the miniature installer itself")
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
