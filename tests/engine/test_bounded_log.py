from pathlib import Path

from mlxgui.engine import bounded_log
from mlxgui.engine.bounded_log import BoundedLog


def test_a_log_never_grows_beyond_two_files(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "deep" / "model.log")
    for i in range(3000):
        log.write(b"%06d " % i * 200)
    log.write(b"x" * (3 * bounded_log.LOG_BYTES) + b"the end")
    log.close()
    files = list((tmp_path / "deep").iterdir())
    assert sorted(file.name for file in files) == ["model.log", "model.old.log"]
    assert all(file.stat().st_size <= bounded_log.LOG_BYTES for file in files)
    assert (tmp_path / "deep" / "model.log").read_bytes().endswith(b"the end")


def test_a_log_goes_on_where_the_last_run_ended(tmp_path: Path) -> None:
    for word in (b"one", b"two"):
        log = BoundedLog(tmp_path / "model.log")
        log.write(word)
        log.close()
    assert (tmp_path / "model.log").read_bytes() == b"onetwo"
