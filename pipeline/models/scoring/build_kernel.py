"""Builds `kernel.c` when Barometer is installed, where hatchling runs it (see pyproject.toml), or run as a program.

The compiler is `$CC`, or else `cc`. Without one the installation succeeds and scoring uses NumPy. To build a wheel for
another platform, name a cross-compiler and the platform, for example
`CC="python -m ziglang cc -target aarch64-linux-gnu.2.17" _PYTHON_HOST_PLATFORM=linux-aarch64`.
"""

import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("kernel.c")
LIBRARY = Path(__file__).with_name("libkernel.so")
# The same bits everywhere: no fused multiply-add, and no -ffast-math.
FLAGS = ["-O3", "-ffp-contract=off", "-shared", "-fPIC"]


def build() -> bool:
    """Compile the kernel beside its source, and return whether that worked."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    fresh = LIBRARY.with_name(f".{os.getpid()}.so")
    command = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS, f'-DSOURCE_DIGEST="{digest}"', str(SOURCE), "-lm"]
    try:
        ran = subprocess.run([*command, "-o", str(fresh)], check=False, capture_output=True, text=True)
        why = ran.stderr
    except OSError as error:
        why = str(error)
    if not fresh.exists():
        sys.stderr.write(f"{SOURCE.name} could not be compiled; without its library NumPy scores. {why}\n")
        return False
    fresh.replace(LIBRARY)  # atomically: a process that has loaded the old one keeps it
    return True


def get_build_hook() -> type[Any]:
    """Return the class by which hatchling builds the kernel. Only an installation has hatchling."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class KernelHook(BuildHookInterface[Any]):
        """Puts the library into the wheel, which is then one for this platform, and for any Python."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
            if build():
                platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
                build_data |= {"tag": f"py3-none-{platform}", "pure_python": False}
                build_data["artifacts"].append(f"/pipeline/models/scoring/{LIBRARY.name}")

    return KernelHook


if __name__ == "__main__":
    sys.exit(not build())
