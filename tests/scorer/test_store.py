"""Stored models, pointers and references."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from sentiment import store
from sentiment.compiler.compile import CompiledScorer
from sentiment.errors import ModelError, ModelNotFoundError, UsageError
from sentiment.files import whole_folder
from sentiment.scorer import Scorer


def test_saving_twice_changes_nothing(compiled: CompiledScorer, tmp_path: Path) -> None:
    first = store.save_model(compiled, {"run_id": "r1"}, tmp_path)
    before = {path: path.read_bytes() for path in first.path.parent.rglob("*") if path.is_file()}
    second = store.save_model(compiled, {"run_id": "r2"}, tmp_path)
    assert second.digest == first.digest == compiled.digest
    assert {path: path.read_bytes() for path in before} == before
    assert second.run_id == "r1"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [compiled.digest]


def test_what_a_killed_process_was_writing_goes_after_a_day(compiled, tmp_path):
    with whole_folder(tmp_path / "models" / "first") as beside:
        (beside / "half.bin").touch()
        killed = Path(shutil.copytree(beside, f"{beside}-killed"))
    writing = Path(shutil.copytree(killed, f"{killed}-not"))
    two_days_ago = time.time() - 48 * 3600
    os.utime(killed, (two_days_ago, two_days_ago))
    stored = store.save_model(compiled, {}, tmp_path)
    left = {path.name for path in (tmp_path / "models").iterdir()}
    assert left == {"first", stored.digest, writing.name}


def test_pointers_are_followed(compiled: CompiledScorer, tmp_path: Path) -> None:
    stored = store.save_model(compiled, {}, tmp_path)
    assert store.read_pointer(tmp_path, "champion") is None
    store.set_pointer(
        tmp_path, "champion", stored.digest, name="reviews", version=3, run_id="r", source="promote"
    )
    pointer = store.read_pointer(tmp_path, "champion")
    assert pointer is not None
    assert set(pointer) == {"digest", "name", "version", "run_id", "set_at", "source"}
    found = store.resolve("champion", tmp_path)
    assert (found.digest, found.name, found.version) == (stored.digest, "reviews", "3")
    assert "reviews version 3" in str(found)
    assert not list(tmp_path.rglob("*.tmp*"))
    assert not [path for path in tmp_path.rglob(".*") if path.name != "."]


def test_references(compiled: CompiledScorer, tmp_path: Path) -> None:
    stored = store.save_model(compiled, {}, tmp_path)
    store.set_pointer(tmp_path, "latest", stored.digest, source="train")
    for reference in (
        None,
        "latest",
        stored.digest,
        stored.digest[:8],
        str(stored.path),
        str(stored.path.parent),
    ):
        found = store.resolve(reference, tmp_path)
        assert found.digest == stored.digest
        assert found.path.samefile(stored.path)
    copy = shutil.copytree(stored.path, tmp_path / "elsewhere")
    assert store.resolve(str(copy), tmp_path).digest == stored.digest
    assert [model.digest for model in store.list_models(tmp_path)] == [stored.digest]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (None, "sentiment train"),
        ("champion", "promote"),
        ("lastest", "did you mean 'latest'"),
        ("0123456789", "no model '0123456789'"),
        ("/", "holds no scorer.json"),
    ],
)
def test_what_is_not_there_is_said_with_the_fix(
    reference: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelNotFoundError, match=said):
        store.resolve(reference, tmp_path)


def test_remote_references_are_told_apart(tmp_path: Path) -> None:
    assert store.is_remote("runs:/abc")
    assert store.is_remote("models:/reviews@champion")
    assert not store.is_remote("latest")
    assert not store.is_remote("C:/models")
    with pytest.raises(UsageError, match="pull"):
        store.resolve("runs:/abc", tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"digest": "../../etc"}', "[" * 10_000])
def test_damaged_pointers_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "latest.json").write_text(content)
    with pytest.raises(ModelError, match="not a pointer"):
        store.resolve("latest", tmp_path)


def test_a_pointer_names_a_stored_model_only(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        store.set_pointer(tmp_path, "latest", "0" * 64, source="train")


def test_imported_models_are_verified(compiled: CompiledScorer, tmp_path: Path) -> None:
    compiled.save(tmp_path / "fetched")
    with pytest.raises(ModelError):
        store.import_model(tmp_path / "fetched", {}, tmp_path / "out", "0" * 64)
    assert not list((tmp_path / "out" / "models").iterdir())
    stored = store.import_model(
        tmp_path / "fetched", {"name": "n"}, tmp_path / "out", compiled.digest
    )
    assert Scorer.load(stored.path, digest=stored.digest).digest == compiled.digest
    assert json.loads((stored.path.parent / "info.json").read_text())["name"] == "n"
    with pytest.raises(ModelError, match="not a scorer directory"):
        store.import_model(tmp_path / "nothing", {}, tmp_path / "out", "1" * 64)


def test_a_model_altered_in_the_store_is_refused(compiled: CompiledScorer, tmp_path: Path) -> None:
    stored = store.save_model(compiled, {}, tmp_path)
    moved = stored.path.parent.rename(stored.path.parent.with_name("0" * 64))
    found = store.resolve(str(moved), tmp_path)
    with pytest.raises(ModelError, match="altered or replaced"):
        Scorer.load(found.path, digest=found.digest)


def test_an_address_that_is_no_model_is_not_repeated(tmp_path):
    with pytest.raises(ModelNotFoundError) as error:
        store.resolve("http://user:secret@host/x", tmp_path)
    assert "secret" not in str(error.value)
