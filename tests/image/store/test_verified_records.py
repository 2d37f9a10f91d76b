"""Records of ``--verify``: there are never more than so many."""

import os
from pathlib import Path

import pytest

from sundog.image.store import verified_records
from sundog.image.store.verified_records import forget_verified


def test_the_oldest_of_too_many_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified_records, "_MOST", 3)
    layer = tmp_path / "layers/x"
    layer.mkdir(parents=True)
    (layer / "file").touch()
    was = (layer / "file").stat()
    line = f"file {was.st_dev} {was.st_ino} {was.st_size} {was.st_ctime_ns} {'0' * 64}"
    (tmp_path / "verified").mkdir()
    for number in range(5):
        record = tmp_path / f"verified/1.2.{number}"
        record.write_text(f"{bytes(layer).hex()}\n{line}\n")
        os.utime(record, (number, number))
    said: list[str] = []
    forget_verified(bytes(tmp_path), said.append)
    assert sorted(os.listdir(tmp_path / "verified")) == ["1.2.2", "1.2.3", "1.2.4"]
    assert said == ["removed 2 old records of --verify"]
