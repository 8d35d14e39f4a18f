"""What is said, in Korean, when a command is typed in a way that it does not know."""

from __future__ import annotations

import re

import typer

# Typer exports its errors of values only; their base is what all wrong usage raises.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def usage_message(error: Exception) -> str:
    """What is wrong with the arguments, and where help is.

    Args:
        error: a `UsageError`.
    """
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "damso"
    return f"{_fault(error)} 쓰는 법은 {command} --help에 있어요."


def _fault(error: Exception) -> str:
    param = getattr(error, "param", None)
    name = param.get_error_hint().strip("'") if param is not None else ""
    quoted = re.findall(r"'([^']*)'|\(([^)]*)\)|: (\S+)$", str(error))
    words = ["".join(found) for found in quoted]
    kind = type(error).__name__
    if kind == "MissingParameter":
        return f"{name} 값이 빠졌어요."
    if kind == "NoSuchOption":
        return f"그런 옵션은 없어요: {getattr(error, 'option_name', '')}."
    if kind == "BadOptionUsage":
        return f"{getattr(error, 'option_name', '')} 다음에 값이 와야 해요."
    if name:
        return f"{name}에 쓸 수 없는 값이에요."
    if "No such command" in str(error):
        near = f" 혹시 {words[1]}인가요?" if len(words) > 1 else ""
        return f"그런 명령은 없어요: {words[0]}.{near}"
    if "unexpected extra argument" in str(error):
        return f"받을 수 없는 값이 더 있어요: {words[-1]}." if words else "받을 수 없는 값이 더 있어요."
    return "명령을 이해하지 못했어요."
