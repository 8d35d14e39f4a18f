"""What the tools cost: ``python -m benchmarks.tools [NAME…]``; the last line is one JSON object, one key a tool."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from compression.audio.measure import speed

TOOLS: dict[str, Callable[[], dict[str, Any]]] = {"recognise_emotion": speed}


def main() -> None:
    """Measure the named tools, or all, and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TOOLS)}")
    names = arguments.parse_args().names or list(TOOLS)
    figures = {name: TOOLS[name]() for name in names}
    for name, values in figures.items():
        for key, value in values.items():
            print(f"{name:>20}  {key:>18}  {value}")
    print(json.dumps({"benchmark": "tools", **figures}))


if __name__ == "__main__":
    main()
