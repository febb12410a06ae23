"""Files are written whole or not at all."""

import pytest

from equipot.storage.atomic_file import write_atomically


def test_failed_write_names_the_file_and_leaves_the_old_one_and_no_rubbish(
    tmp_path, monkeypatch
):
    path = tmp_path / "model"
    write_atomically(path, b"old")

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match=r"No space left on device: .*model"):
        write_atomically(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
