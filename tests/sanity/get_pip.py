"""Put pip into an empty virtual environment; ansible-test runs this where it would download get-pip.py.

It would take that script from a host of its own, which is no package registry and not reachable everywhere. Python's
own ensurepip gives a first pip, and that installs the version that ansible-test asks for.
"""

from __future__ import annotations

import subprocess
import sys

WANTED = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
# In a process of its own: ensurepip switches pip's configuration off for the process that it runs in.
subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *WANTED], check=True)
