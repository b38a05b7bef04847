"""What the source tree says of itself, and how apt is kept to its own folder."""

from pathlib import Path

import pytest

from kubeproof.terminal.errors import CommandError
from lab.mirror import kubernetes, source

COMMIT = "faecb196815e248d3ecfb03c680a4507229c2a56"
SCRIPT = f"""
  if [[ '%' == "%" ]]; then
    KUBE_GIT_COMMIT='{COMMIT}'
    KUBE_GIT_TREE_STATE="archive"
    # something like 'HEAD -> release-1.8, tag: v1.8.3' where then 'tag: '
    # can be extracted from it.
    if [[ 'tag: v1.20.2' =~ tag:\\ (v[^ ,]+) ]]; then
     KUBE_GIT_VERSION="${{BASH_REMATCH[1]}}"
    fi
  fi
      KUBE_GIT_TREE_STATE="clean"
"""
FOUND = source.Upstream("v1.20.2", COMMIT, "archive")


def test_version_and_commit_are_read() -> None:
    assert source.parse_version_script(SCRIPT) == FOUND


def test_a_tag_among_branches_is_read() -> None:
    assert source.parse_version_script(SCRIPT.replace("'tag: v", "'HEAD -> x, tag: v")) == FOUND


def test_a_tree_that_no_release_made_is_refused() -> None:
    with pytest.raises(CommandError, match="release"):
        source.parse_version_script(SCRIPT.replace(COMMIT, "$Format:%H$"))


def test_another_version_than_the_tags_say_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hack" / "lib").mkdir(parents=True)
    (tmp_path / source.VERSION_SCRIPT).write_text(SCRIPT.replace("v1.20.2", "v1.21.0"))
    with pytest.raises(CommandError, match=r"versions\.py"):
        source.upstream(tmp_path)


def test_apt_reads_no_list_of_the_machine() -> None:
    options = source.apt_options(Path("/x"))
    assert "--option=Dir::Etc::sourcelist=/x/sources.list" in options
    assert "--option=Dir::Etc::sourceparts=-" in options
    assert not [option for option in options if "nauthenticated" in option or "Insecure" in option]


def test_the_linker_tells_programs_their_version() -> None:
    flags = kubernetes.linker_flags(FOUND)
    assert flags.startswith("-s -w ")
    for package in ("client-go/pkg/version", "component-base/version"):
        assert f"-X k8s.io/kubernetes/vendor/k8s.io/{package}.gitVersion=v1.20.2" in flags
        assert f"{package}.gitMinor=20" in flags
        assert f"{package}.gitCommit={COMMIT}" in flags


def test_packages_marked_for_openapi_are_found(tmp_path: Path) -> None:
    marked = "// +k8s:openapi-gen=true\npackage x\n"
    for name, text in {
        "staging/src/k8s.io/api/core/v1/doc.go": marked,
        "pkg/apis/x/doc.go": marked,
        "pkg/apis/plain/doc.go": "package plain\n",
        "pkg/apis/readme/README.md": marked,
        "vendor/k8s.io/kube-openapi/test/x/x.go": marked,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "vendor/k8s.io/api").symlink_to("../../staging/src/k8s.io/api")
    found = kubernetes.openapi_packages(tmp_path)
    assert found == ["k8s.io/kubernetes/pkg/apis/x", "k8s.io/kubernetes/vendor/k8s.io/api/core/v1"]
