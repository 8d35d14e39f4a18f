"""Where a checkpoint comes from: an embedded name, a folder, or a model hub's id."""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import Tokenizer

from compression.artefacts import model_folder
from compression.errors import ModelCorruptError, ModelMissingError
from compression.language.tensors import full_disk_explained

EMBEDDED = {"generator": "generator-checkpoint"}
"""Names that a person types → the embedded folder with the weights to start from."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILES = ["config.json", "tokenizer.json", "*.safetensors", "model.safetensors.index.json"]


def checkpoint_folder(model: str) -> Path:
    """The folder of a checkpoint; one from the hub is downloaded first (or found in the hub's cache).

    Args:
        model: an embedded name such as ``generator``, a folder, or a hub id such as
            ``EleutherAI/polyglot-ko-1.3b``. A folder of that name goes before a hub id.

    Raises:
        ModelMissingError: there is no such model, or it cannot be downloaded.
        ModelCorruptError: the embedded model differs from the manifest.
        ModuleNotFoundError: a hub id without huggingface_hub installed.
    """
    if model in EMBEDDED:
        return model_folder(EMBEDDED[model])
    folder = Path(model)
    if folder.is_dir():
        return folder
    if _HUB_ID.fullmatch(model) and not folder.is_absolute():
        return _download(model)
    raise ModelMissingError(
        f"모델을 찾을 수 없어요: {model[:120]}",
        "내장 모델 이름(generator), 체크포인트 폴더, 또는 EleutherAI/polyglot-ko-1.3b 같은 허브 이름을 적어 주세요.",
    )


def open_tokenizer(folder: Path) -> Tokenizer:
    """A checkpoint's tokenizer.

    Raises:
        ModelMissingError: it has none.
        ModelCorruptError: it cannot be read.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ModelMissingError("체크포인트에 tokenizer.json이 없어요.", "폴더를 확인해 주세요.")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise ModelCorruptError(
            "모델 파일이 손상되었어요: tokenizer.json", "체크포인트를 다시 받아 주세요."
        ) from error


def _download(model: str) -> Path:
    """Only safetensors and JSON are asked for: pickled weights are never loaded, so never fetched."""
    import huggingface_hub

    try:
        with full_disk_explained():
            return Path(huggingface_hub.snapshot_download(model, allow_patterns=_FILES))
    except (OSError, ValueError) as error:  # what the hub's own errors descend from
        raise ModelMissingError(
            f"모델을 내려받지 못했어요: {model}",
            "이름과 인터넷 연결을 확인하거나, 내려받은 폴더를 적어 주세요.",
        ) from error
