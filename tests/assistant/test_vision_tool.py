from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from assistant.cli import main
from assistant.dialog import Assistant
from assistant.errors import DiskFullError, MissingArgumentError, PictureError, ToolArgumentError
from assistant.tools import vision
from assistant.tools.registry import Registry
from assistant.tools.vision import Vision, enlarge, read, write
from compression.vision.super_resolution.metrics import luma, psnr, shaved
from compression.vision.super_resolution.resize import bicubic_pixels
from tests.compression.vision.sr_pictures import drawing, pixels

NOW = datetime(2026, 11, 24, 10, 20)
Keep = Callable[..., Path]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry()
    vision.register(made, Vision(tmp_path / "home"))
    return made


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    def kept(image: Image.Image, name: str, **options: object) -> Path:
        image.save(tmp_path / name, **options)  # type: ignore[arg-type]
        return tmp_path / name

    return kept


def opened(path: str | Path) -> Image.Image:
    """A picture, read to its end, with its file closed."""
    with Image.open(path) as image:
        image.load()
    return image


def run(*arguments: object) -> object:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def results(folder: Path) -> list[Path]:
    return sorted((folder / "home").rglob("*.*"))


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares its size and then has hardly a byte."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 9)),
    ]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("speed", ["quality", "fast"])
def test_a_picture_becomes_larger_with_a_comparison(
    registry: Registry, keep: Keep, scale: int, speed: str
) -> None:
    file = keep(drawing(1, 50, 40), "사진.png")
    found = registry.call("upscale_image", {"image": file, "scale": scale, "speed": speed})
    comparison, result = (opened(path) for path in found.files)
    assert f"{50 * scale}×{40 * scale}" in found.text and f"{scale}배" in found.text
    assert result.size == (50 * scale, 40 * scale) and result.mode == "RGB"
    assert comparison.size == (2 * 50 * scale + 4, 40 * scale)
    right = np.asarray(comparison)[:, 50 * scale + 4 :]
    assert (right == np.asarray(result)).all(), "on the right stands the result"
    assert not (np.asarray(comparison)[:, : 50 * scale] == right).all()


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("speed", ["quality", "fast"])
def test_the_embedded_networks_beat_bicubic_on_a_drawing(tmp_path: Path, scale: int, speed: str) -> None:
    high = pixels(3, 160, 120)
    low = bicubic_pixels(high, 1 / scale)
    picture = vision.Picture(low, None, False, None, ())
    large = enlarge(picture, scale, speed)
    truth = shaved(luma(high), scale)
    ours, plain = (psnr(shaved(luma(image), scale), truth) for image in (large, bicubic_pixels(low, scale)))
    assert ours > plain + (0.3 if speed == "quality" else 0.05)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("사진 4배로 키워 줘", {"scale": 4}),
        ("해상도 두 배로 늘려 줘", {"scale": 2}),
        ("이미지 크기를 세 배로", {"scale": 3}),
        ("x4로 빨리 키워 줘", {"scale": 4, "speed": "fast"}),
        ("1920x1080 사진인데 선명하게 해 줘", {}),
        ("사진 선명하게 해 줘", {}),
    ],
)
def test_the_message_says_how_much(registry: Registry, said: str, wanted: dict[str, object]) -> None:
    assert registry["upscale_image"].fill(said, NOW) == wanted


def test_what_cannot_be_is_said_and_what_is_missing_asked(registry: Registry) -> None:
    with pytest.raises(ToolArgumentError, match="8배로는"):
        registry["upscale_image"].fill("8배로 키워 줘", NOW)
    with pytest.raises(MissingArgumentError, match="사진을 붙여서"):
        registry.call("upscale_image", {})
    assert registry["upscale_image"].file == "image"
    with pytest.raises(ToolArgumentError, match="scale"):
        registry.call("upscale_image", {"image": "a.png", "scale": 5})


def test_one_pixel_is_a_picture_too(registry: Registry, keep: Keep) -> None:
    file = keep(Image.new("RGB", (1, 1), (200, 10, 10)), "점.png")
    _, result = registry.call("upscale_image", {"image": file, "scale": 4}).files
    found = np.asarray(opened(result)).astype(int)
    assert found.shape == (4, 4, 3) and abs(found.mean(axis=(0, 1)) - [200, 10, 10]).max() < 40


def test_transparency_is_kept(registry: Registry, keep: Keep) -> None:
    image = drawing(2, 30, 20).convert("RGBA")
    alpha = Image.new("L", (30, 20), 255)
    alpha.paste(0, (0, 0, 15, 20))
    image.putalpha(alpha)
    for file in (keep(image, "a.png"), keep(image.quantize(), "p.png"), keep(image, "w.webp", lossless=True)):
        _, result = registry.call("upscale_image", {"image": file}).files
        found = opened(result)
        assert found.mode == "RGBA" and found.size == (60, 40) and result.endswith(".png")
        shown = np.asarray(found.getchannel("A"))
        assert shown[:, :24].max() == 0 and shown[:, 36:].min() == 255


def test_a_turned_photograph_stands_upright(registry: Registry, keep: Keep) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to the right
    image = Image.new("RGB", (40, 20), "white")
    image.paste("red", (0, 0, 8, 20))
    file = keep(image, "t.jpg", exif=exif, quality=95)
    _, result = registry.call("upscale_image", {"image": file}).files
    found = opened(result)
    assert result.endswith(".jpg") and found.size == (40, 80) and 0x0112 not in found.getexif()
    top, bottom = found.getpixel((20, 4)), found.getpixel((20, 76))
    assert top[1] < 90 and bottom[1] > 200, "what was on the left is on top"  # type: ignore[index]


def test_ink_colours_and_deep_pixels_are_read(registry: Registry, keep: Keep) -> None:
    inks = drawing(4, 24, 20).convert("CMYK")
    found = registry.call("upscale_image", {"image": keep(inks, "c.jpg", quality=95)})
    assert "CMYK" in found.text and opened(found.files[1]).mode == "RGB"
    assert "CMYK" in registry.call("upscale_image", {"image": keep(inks, "c.tif")}).text
    ramp = np.linspace(0, 65535, 24 * 20).reshape(20, 24).astype(np.uint16)
    found = registry.call("upscale_image", {"image": keep(Image.fromarray(ramp), "d.png")})
    large = np.asarray(opened(found.files[1])).astype(int)
    assert "16비트" in found.text and large.shape == (40, 48)
    assert large[:, :4].mean() < large[:, -4:].mean() and 100 < large.mean() < 155, "not cut off at 255"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "YCbCr"])
def test_every_kind_of_pixel(registry: Registry, keep: Keep, mode: str) -> None:
    image = drawing(5, 20, 16).convert(mode)
    file = keep(image, "m.jpg" if mode == "YCbCr" else "m.png")
    found = opened(registry.call("upscale_image", {"image": file}).files[1])
    assert found.size == (40, 32)
    assert found.mode == {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "YCbCr": "RGB"}[mode]


def test_the_colour_profile_goes_along(registry: Registry, keep: Keep) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = keep(drawing(6, 20, 20), "i.png", icc_profile=profile)
    result = registry.call("upscale_image", {"image": file}).files[1]
    assert opened(result).info["icc_profile"] == profile


@pytest.mark.parametrize("name", ["m.gif", "m.webp", "m.png", "m.tiff"])
def test_what_moves_is_refused(registry: Registry, keep: Keep, tmp_path: Path, name: str) -> None:
    file = keep(drawing(1), name, save_all=True, append_images=[drawing(2), drawing(3)])
    with pytest.raises(PictureError, match="여러 장면"):
        registry.call("upscale_image", {"image": file})
    assert not results(tmp_path)


def test_a_gif_that_stands_still_is_a_picture(registry: Registry, keep: Keep) -> None:
    assert opened(registry.call("upscale_image", {"image": keep(drawing(1), "s.gif")}).files[1]).size == (
        192,
        160,
    )


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (9_000, 9_000), (2**31 - 1, 2)])
def test_declared_sizes_are_refused_before_a_pixel_is_read(
    registry: Registry, tmp_path: Path, width: int, height: int
) -> None:
    (tmp_path / "b.png").write_bytes(png_header(width, height))
    with warnings.catch_warnings(), pytest.raises(PictureError, match="너무 커요"):
        warnings.simplefilter("error")
        registry.call("upscale_image", {"image": tmp_path / "b.png"})
    assert not results(tmp_path)


def test_broken_and_disguised_files_are_told_apart(registry: Registry, keep: Keep, tmp_path: Path) -> None:
    whole = {
        name: keep(drawing(7, 300, 200), name).read_bytes()
        for name in ("a.png", "a.jpg", "a.webp", "a.bmp", "a.tif")
    }
    cases = {f"cut-{name}": (body[: len(body) * 2 // 3], "손상되었거나") for name, body in whole.items()}
    cases |= {
        "text.png": ("사진이 아니에요".encode() * 50, "사진 파일이 아니에요"),
        "page.jpg": (b"%PDF-1.7\n" + b"x" * 400, "사진 파일이 아니에요"),
        "empty.png": (b"", "사진 파일이 아니에요"),
        "bytes.webp": (np.random.default_rng(0).bytes(5000), "사진 파일이 아니에요"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "사진 파일이 아니에요"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=f"{name}.*{message}"):
            registry.call("upscale_image", {"image": tmp_path / name})
    with pytest.raises(PictureError, match="열 수 없어요"):
        registry.call("upscale_image", {"image": tmp_path / "nowhere.png"})
    with pytest.raises(PictureError, match="열 수 없어요"):
        registry.call("upscale_image", {"image": tmp_path})
    assert not results(tmp_path)
    (tmp_path / "really-png.jpg").write_bytes(whole["a.png"])
    assert registry.call("upscale_image", {"image": tmp_path / "really-png.jpg"}).files[1].endswith(".png")


def test_every_damaged_byte_gives_a_picture_or_an_error_of_ours(keep: Keep, tmp_path: Path) -> None:
    chooser = np.random.default_rng(1)
    for name in ("f.png", "f.jpg", "f.gif", "f.tif", "f.webp", "f.bmp"):
        body = bytearray(keep(drawing(8, 40, 30), name).read_bytes())
        for _ in range(60):
            broken = body.copy()
            for place in chooser.integers(0, len(body), 3):
                broken[place] = chooser.integers(256)
            (tmp_path / "broken").write_bytes(broken[: chooser.integers(1, len(body) + 1)])
            try:
                found = read(tmp_path / "broken", 4)
            except PictureError:
                continue
            assert found.pixels.dtype == np.uint8 and found.pixels.shape[2] in (1, 3)


def test_a_result_that_cannot_be_written_leaves_nothing(
    registry: Registry, keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, saved, calls = keep(drawing(9, 20, 20), "a.png"), Image.Image.save, list[Path]()

    def full(self: Image.Image, path: Path, **options: object) -> None:
        calls.append(path)
        saved(self, path, **options)  # type: ignore[arg-type]
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DiskFullError, match="쓰지 못했어요"):
        registry.call("upscale_image", {"image": file})
    assert len(calls) == 2 and not [path for path in results(tmp_path) if path.is_file()]


def test_the_command_writes_beside_the_picture_or_where_it_is_told(
    keep: Keep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = keep(drawing(1, 20, 16), "그림.png")
    assert run("upscale", file, "--scale", 4) == 0
    assert opened(tmp_path / "그림-4x.png").size == (80, 64) and "80×64" in capsys.readouterr().out
    assert run("upscale", file, "--scale", 4) == 1
    assert "이미 있는 파일" in capsys.readouterr().err
    assert run("upscale", file, "--speed", "fast", "--out", tmp_path / "x.jpg") == 0
    assert opened(tmp_path / "x.jpg").format == "JPEG"
    with pytest.raises(PictureError, match="이름을"):
        write(read(file, 2), pixels(1), 2, tmp_path / "x.bmp")


def test_a_picture_that_comes_with_a_message_is_enlarged(talk: Assistant, keep: Keep) -> None:
    file = keep(drawing(1, 20, 16), "a.png")
    done = talk.ask("이 사진 4배로 키워 줘", files=[file])
    assert (done.agent, done.tool and done.tool.name) == ("vision", "upscale_image")
    assert done.tool is not None and opened(done.tool.files[1]).size == (80, 64)
    asked = talk.ask("사진 화질 좀 올려 줘")
    assert "사진을 붙여서" in asked.answer and asked.pending is not None
    done = talk.ask("여기 있어", conversation=asked.conversation, files=[file])
    assert done.tool is not None and opened(done.tool.files[1]).size == (40, 32)


def test_serving_pictures_needs_no_training_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pathlib, assistant.tools.vision as v, compression.vision.super_resolution.infer\n"
        "assert not {'torch', 'onnx', 'scipy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
