"""What is replaced in the source of Kubernetes."""

from pathlib import Path

import pytest

from kubeproof.terminal.errors import CommandError
from lab.mirror import kubernetes
from lab.mirror.kubernetes import REPLACEMENTS, Replacement
from lab.mirror.source import Source


def tree(folder: Path, text: str) -> Path:
    for replacement in REPLACEMENTS:
        file = folder / replacement.file
        file.parent.mkdir(parents=True)
        file.write_text(text.format(old=replacement.old))
    return folder


def test_each_text_is_replaced(tmp_path: Path) -> None:
    kubernetes.replace_texts(tree(tmp_path, "a\n{old}\nb\n"))
    for replacement in REPLACEMENTS:
        assert (tmp_path / replacement.file).read_text() == f"a\n{replacement.new}\nb\n"


@pytest.mark.parametrize("text", ["something else\n", "{old}\n{old}\n"])
def test_a_source_of_another_text_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CommandError, match="look whether the source needs that still"):
        kubernetes.replace_texts(tree(tmp_path, text))


def test_a_source_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"type\.go"):
        kubernetes.replace_texts(tmp_path)


def test_the_build_follows_what_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "_toolchain", lambda: ("go", "reflect2"))
    (tmp_path / "x.dsc").write_text("")
    fetched = Source("1", tmp_path / "x.dsc")
    before = kubernetes.build_key(fetched)
    monkeypatch.setattr(kubernetes, "REPLACEMENTS", (Replacement("file.go", "old", "new"),))
    assert kubernetes.build_key(fetched) != before
