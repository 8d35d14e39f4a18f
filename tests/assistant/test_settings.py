from pathlib import Path

import pytest

from assistant.errors import SettingsError
from assistant.settings import Settings


def load(home: Path, file: str | None = None, **variables: str) -> Settings:
    if file is not None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "settings.toml").write_text(file, encoding="utf-8")
    return Settings.load({"DAMSO_HOME": str(home), **variables})


def test_defaults_are_local_and_open_to_nobody_else(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.host, settings.token, settings.max_message) == ("127.0.0.1", None, 20_000)
    assert settings.home == tmp_path
    assert settings.is_loopback


def test_home_defaults_to_the_platform_folder() -> None:
    home = Settings.load({}).home
    assert home.is_absolute() and home.name.lower() == "damso"


def test_environment_wins_over_file_and_overrides_win_over_both(tmp_path: Path) -> None:
    file = 'port = 8000\nhost = "localhost"\nallowed_hosts = ["damso.local"]\nanswer_threshold = 1\n'
    settings = load(tmp_path, file, DAMSO_PORT="8001", DAMSO_THREADS=" 3 ")
    assert (settings.port, settings.host, settings.threads) == (8001, "localhost", 3)
    assert settings.allowed_hosts == ("damso.local",)
    assert settings.answer_threshold == 1
    overridden = Settings.load({"DAMSO_HOME": str(tmp_path), "DAMSO_PORT": "8001"}, port=9, host=None)
    assert (overridden.port, overridden.host) == (9, "localhost")


def test_lists_are_written_with_commas_and_empty_variables_are_unset(tmp_path: Path) -> None:
    settings = load(tmp_path, DAMSO_ALLOWED_HOSTS="a.local, b.local,", DAMSO_TOKEN="")
    assert settings.allowed_hosts == ("a.local", "b.local")
    assert settings.token is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "천"),
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("THREADS", "0"),
        ("THREADS", "두 개"),
        ("MAX_MESSAGE", "0"),
        ("MAX_UPLOAD_MB", "0"),
        ("QUEUE", "-1"),
        ("ANSWER_THRESHOLD", "1.5"),
        ("ANSWER_THRESHOLD", "nan"),
        ("HOST", "한글 주소"),
        ("ALLOWED_HOSTS", "a/b"),
        ("TOKEN", "빈 칸"),
    ],
)
def test_a_bad_variable_is_named_in_korean(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **{f"DAMSO_{variable}": value})
    assert variable.lower() in caught.value.message
    assert f"DAMSO_{variable}" in caught.value.hint


@pytest.mark.parametrize(
    "file",
    ["port = ", "prot = 1", 'port = "1"', "port = true", "host = 3", "allowed_hosts = [1]", "home = '/'"],
)
def test_a_bad_file_is_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(SettingsError):
        load(tmp_path, file)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xff\xfe\x00port")
    with pytest.raises(SettingsError, match="설정 파일"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("[::1]", True), ("LOCALHOST", True)]
    + [("0.0.0.0", False), ("::", False), ("192.168.0.3", False), ("damso.local", False)],
)
def test_loopback_is_recognised(tmp_path: Path, host: str, loopback: bool) -> None:
    assert load(tmp_path, DAMSO_HOST=host).is_loopback is loopback


def test_the_token_is_never_shown(tmp_path: Path) -> None:
    assert "s3cret" not in repr(load(tmp_path, DAMSO_TOKEN="s3cret"))
