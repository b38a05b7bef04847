"""The tables of docs/reference*.md, made from what declares settings, rules and versions.

A page has each table between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; :func:`tables` has them by these names.
"""

import ast
import re
import runpy
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kubeproof.config.settings import EFFECTS
from kubeproof.config.tables.version_traits import ERAS
from kubeproof.doctor.catalogue import CAUSES, SUSPECTS
from kubeproof.networks import registry as manifests
from kubeproof.networks.manifest import number
from kubeproof.networks.network import OF_OTHERS, Effect
from kubeproof.networks.registry import NETWORKS
from kubeproof.proof.probes import TITLES
from kubeproof.rules import index
from kubeproof.terminal.exits import REPOSITORY

PAGES = sorted((REPOSITORY / "docs").glob("reference*.md"))
ALL = REPOSITORY / "inventory" / "group_data" / "all.py"
LAB = REPOSITORY / "inventory" / "group_data" / "lab.py"
LAB_TOML = REPOSITORY / "lab" / "lab.toml"

MARKED = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
CONTENT_TAG = re.compile(r":[0-9a-f]{12}$")
"""Tag of an image that the lab builds: a hash over its content, which would make every change one of the table too."""
PYINFRA = "pyinfra"
"""Heading of what pyinfra reads, which is no setting of a cluster."""

Row = tuple[str, ...]


@dataclass(frozen=True)
class Declared:
    """A setting as a file declares it: below which heading, and the comment above it."""

    section: str
    name: str
    reason: str


def refresh() -> list[str]:
    """Write the tables into all pages; return the names of the pages that this changed."""
    made, changed = tables(), []
    for page in PAGES:
        text = page.read_text()
        if (wanted := with_tables(text, made)) != text:
            page.write_text(wanted)
            changed.append(page.name)
    return changed


def with_tables(text: str, made: Mapping[str, str]) -> str:
    """The text with each table between its marks. Pure. Raises KeyError for marks of an unknown table."""
    return MARKED.sub(lambda found: f"{found[1]}\n{made[found[2]]}\n{found[3]}", text)


def tables() -> dict[str, str]:
    lab_text = LAB_TOML.read_text()
    return {
        "settings": settings_table(declared(ALL.read_text()), runpy.run_path(str(ALL)), runpy.run_path(str(LAB))),
        "lab.toml": settings_table(declared(lab_text), tomllib.loads(lab_text)),
        "rules": index.table(cause.rule for cause in (*CAUSES, *SUSPECTS)),
        "probes": _table("Probe | What must hold", ((f"`{name}`", title) for name, title in TITLES.items())),
        "effects": _table("Setting | Pod network | Changed on a running cluster, it is", effects()),
        "manifests": manifests_table(ERAS),
        "versions": _table("Kubernetes | kubeadm API | Packages | Docker | containerd | Pause image", _versions()),
    }


def declared(text: str) -> list[Declared]:
    """Settings in the order of a Python or TOML file of comments and ``name = value`` lines. Pure.

    A comment speaks for the settings that follow it without an empty line between; ``# --- X ---`` is a heading. Names
    that begin with an underscore are pyinfra's, and so is all under the heading of that name.
    """
    found, section, comment = [], "", ""
    for line in _without_docstring(text).splitlines():
        if heading := re.fullmatch(r"# --- (.*) ---", line):
            section, comment = heading[1], ""
        elif line.startswith("#"):
            comment = f"{comment} {line.lstrip('# ')}".strip()
        elif (assigned := re.match(r"([a-z]\w*) = ", line)) and section != PYINFRA:
            found.append(Declared(section, assigned[1], comment))
        elif not line.strip():
            comment = ""
    return found


def settings_table(
    settings: Iterable[Declared], defaults: Mapping[str, object], lab: Mapping[str, object] | None = None
) -> str:
    """Settings with their reasons; a row without a name begins a section. Pure.

    With ``lab`` there is one column more, for the lab's values where they differ.
    """
    rows: list[Row] = []
    section = reason = ""
    for item in settings:
        if item.section != section:
            rows.append((f"**{item.section}**", "", "", "") if lab is not None else (f"**{item.section}**", "", ""))
        default = defaults[item.name]
        of_lab = () if lab is None else (_code(lab[item.name]) if lab.get(item.name, default) != default else "",)
        why = "as above" if item.reason and item.reason == reason else item.reason
        rows.append((f"`{item.name}`", _code(default), *of_lab, why))
        section, reason = item.section, item.reason
    return _table(f"Setting | Default | {'' if lab is None else 'In the lab | '}Why", rows)


def effects() -> Iterable[Row]:
    """What a change of each setting does to a cluster that runs, by pod network where these differ. Pure."""
    for name, effect in EFFECTS.items():
        for network, one in {"": effect}.items() if isinstance(effect, Effect) else effect.items():
            if one is not OF_OTHERS:
                words = {"applied": "applied: ", "refused": "refused: ", "nothing": "of no consequence: "}[one.kind]
                yield f"`{name}`", network, words + (f"`{one.why}`" if one.kind == "refused" else one.why)


def manifests_table(minors: Iterable[str]) -> str:
    """Pinned manifests: what their projects name, what was run here, and which one a minor gets. Pure."""
    known, rows = list(minors), []
    for pinned in manifests.PINNED:
        chosen = [minor for minor in known if manifests.choose(pinned.project, minor) is pinned]
        parts = [[minor for minor in chosen if pinned.is_tried(minor) is tried] for tried in (True, False)]
        name = f"{NETWORKS[pinned.project].title} {pinned.version}"
        rows.append((name, pinned.named_for, ", ".join(pinned.run), *map(_spans, parts)))
    return _table(
        "Manifest | Named by its project for | Run here with | Chosen for | Chosen, and refused as untried", rows
    )


def _spans(minors: Iterable[str]) -> str:
    """Versions in words, such as "1.20, 1.22 to 1.25"."""
    spans: list[list[int]] = []
    for last in sorted(number(minor)[1] for minor in minors):
        if spans and spans[-1][1] == last - 1:
            spans[-1][1] = last
        else:
            spans.append([last, last])
    return ", ".join(f"1.{first}" if first == last else f"1.{first} to 1.{last}" for first, last in spans)


def _versions() -> Iterable[Row]:
    for minor, era in ERAS.items():
        docker = f"dockershim, before {era.docker_below[0]}" if era.dockershim else "cri-dockerd"
        containerd = f"from {'.'.join(map(str, era.containerd_from))}" if era.containerd_from else "any"
        packages = "the project's" if era.community_packages else "a mirror's"
        yield minor, era.kubeadm_api, packages, docker, containerd, era.pause_tag


def _without_docstring(text: str) -> str:
    if not text.startswith('"""'):
        return text
    first = ast.parse(text).body[0]
    return "\n".join(text.splitlines()[first.end_lineno :])


def _code(value: object) -> str:
    if isinstance(value, str):
        return f'`"{CONTENT_TAG.sub(":…", value)}"`'
    return f"`{value!r}`"


def _table(heading: str, rows: Iterable[Row]) -> str:
    head = tuple(heading.split(" | "))
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n"
        for row in (head, ("---",) * len(head), *rows)
    )
