"""The registry of tools: a function, the schema that its signature and docstring give, and its validated call.

A tool is an ordinary function with annotated parameters and a Google-style docstring; its first line describes it, its
``Args`` describe the parameters. It gives back a text in Korean, or a `ToolResult` with files.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from assistant.errors import MissingArgumentError, ToolArgumentError, UnknownToolError
from assistant.events import ToolResult
from assistant.tools.wording import with_direction

Function = Callable[..., "str | ToolResult"]
Fill = Callable[[str, datetime], Mapping[str, Any]]
_ARGUMENT = re.compile(r"^ {4}\*{0,2}(\w+)(?: \([^)]*\))?: (.+(?:\n {5,}.+)*)", re.MULTILINE)


def _nothing(text: str, now: datetime) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        name: what it is called by; the function's name.
        description: the first paragraph of its docstring.
        function: what runs.
        arguments: the model that validates the arguments, made from the signature.
        fill: reads arguments from a message.
        questions: parameter → the question to ask when it is missing.
        file: the parameter that takes an attached file; empty when there is none.
    """

    name: str
    description: str
    function: Function
    arguments: type[BaseModel]
    fill: Fill = _nothing
    questions: Mapping[str, str] = field(default_factory=dict)
    file: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as function-calling interfaces describe it, with a JSON schema of its parameters."""
        parameters = self.arguments.model_json_schema()
        return {"name": self.name, "description": self.description, "parameters": parameters}


class Registry:
    """The tools that can run on this machine."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def add(
        self, function: Function, fill: Fill = _nothing, questions: Mapping[str, str] | None = None
    ) -> None:
        """Register a function under its own name.

        Args:
            function: every parameter is annotated.
            fill: reads arguments from a message.
            questions: parameter → the question to ask when it is missing.
        """
        name = function.__name__
        documentation = inspect.getdoc(function) or ""
        hints = get_type_hints(function, include_extras=True)
        files = [parameter for parameter, hint in hints.items() if hint is Path or Path in get_args(hint)]
        self._tools[name] = Tool(
            name=name,
            description=documentation.split("\n\n")[0],
            function=function,
            arguments=_arguments(function, hints, documentation),
            fill=fill,
            questions=dict(questions or {}),
            file=files[0] if files else "",
        )

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __getitem__(self, name: str) -> Tool:
        """A tool by name.

        Raises:
            UnknownToolError: there is none.
        """
        if name not in self._tools:
            raise UnknownToolError(f"그런 도구는 없어요: {name[:80]}", "damso agents list로 확인해 주세요.")
        return self._tools[name]

    def schemas(self) -> list[dict[str, Any]]:
        """Every tool's schema, in the order of registration."""
        return [tool.schema for tool in self._tools.values()]

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Validate the arguments and run the tool.

        Args:
            name: a registered tool.
            arguments: values by parameter, as plain Python or JSON types.

        Returns:
            The result under the tool's name.

        Raises:
            UnknownToolError: no tool has the name.
            MissingArgumentError: a needed argument is not there; it carries the question to ask.
            ToolArgumentError: a value has the wrong type or range, or there is no such parameter.
        """
        tool = self[name]
        try:
            checked = tool.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise _refused(tool, error) from error
        values = {parameter: getattr(checked, parameter) for parameter in tool.arguments.model_fields}
        result = tool.function(**values)
        return ToolResult(name, result) if isinstance(result, str) else replace(result, name=name)


def _arguments(function: Function, hints: Mapping[str, Any], documentation: str) -> type[BaseModel]:
    described = {match[1]: " ".join(match[2].split()) for match in _ARGUMENT.finditer(documentation)}
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[name] = (hints[name], Field(default, description=described.get(name)))
    model: type[BaseModel] = create_model(
        function.__name__, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields
    )
    return model


def _refused(tool: Tool, error: ValidationError) -> MissingArgumentError | ToolArgumentError:
    """A missing argument becomes its question, and so does a day that is none; another fault is named."""
    faults = error.errors()
    missing = [str(fault["loc"][0]) for fault in faults if fault["type"] == "missing"]
    if missing and len(missing) == len(faults):
        name = missing[0]
        return MissingArgumentError(name, tool.questions.get(name, f"{name} 값을 알려 주세요."))
    fault = next(fault for fault in faults if fault["type"] != "missing")
    place = ".".join(map(str, fault["loc"]))
    if place in tool.questions and fault["type"].startswith("date"):
        said = with_direction(f"‘{fault['input']!s:.40}’")
        return MissingArgumentError(place, f"{said}는 정할 수 없어요. {tool.questions[place]}")
    return ToolArgumentError(
        f"{tool.name}의 {place} 값을 쓸 수 없어요: {fault['input']!r:.80}", "값을 고쳐 주세요."
    )
