"""A run as text, JSON and JUnit XML. Pure but for writing the files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from kubeproof.matrix import grids
from kubeproof.matrix.result import CaseResult, RunResult
from kubeproof.matrix.table import Difference, Mark, TruthTable
from kubeproof.terminal import output_files
from kubeproof.terminal.summary import counted, duration

SCHEMA = "kubeproof.matrix"
SCHEMA_VERSION = 1
"""Raised when a field is renamed, removed, or changes its meaning; not when one is added."""
SUITE_NAME = "kubeproof.matrix"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write."""


def case_line(case: CaseResult, number: int, of: int) -> str:
    return f"[{number:3}/{of}] {case.name} … {_outcome(case)}"


def _outcome(case: CaseResult) -> str:
    if case.not_run:
        return f"not run: {case.not_run}"
    parts = [counted(case.cells, "cell"), f"{case.wrong} wrong"]
    parts += [counted(case.failed, "failed probe")] if case.failed else []
    parts += [counted(case.known_cells, "known difference")] if case.known else []
    parts += [f"{case.retried} probed again"] if case.retried else []
    return ", ".join([*parts, f"{case.seconds:.1f} s"])


def case_details(case: CaseResult, *, with_grids: bool) -> Iterator[str]:
    """What follows a case's line: why it does not hold, and the grids where they are asked for or needed."""
    if case.not_run:
        return
    if with_grids or not case.holds:
        yield f"  {case.shows}"
        yield from (f"  {note}" for note in case.notes)
    if case.problem:
        yield f"  problem: {case.problem}"
    if with_grids or case.differences:
        yield ""
        yield from (f"  {line}".rstrip() for line in grids.grids(case.expected, case.observed))
    yield from (f"  {line}" for line in grids.explanations(case.differences))
    if with_grids:
        yield f"  {', '.join(f'{name} {seconds:.2f} s' for name, seconds in case.steps.items())}"


def totals(result: RunResult) -> Iterator[str]:
    """The last lines: what could not be tried, and the sums."""
    yield from (f"not probed: {line}" for line in result.not_probed)
    for known, cells in result.known.items():
        yield f"known difference {known.id}, {counted(cells, 'cell')}: {known.meaning} ({known.reference})"
    if result.stopped:
        yield f"stopped: {result.stopped}"
    parts = [f"{result.count('holds')} as expected"]
    parts += [f"{count} not" for count in [result.count("differs")] if count]
    parts += [f"{count} not run" for count in [result.count("not run")] if count]
    yield (
        f"{counted(len(result.cases), 'case')}: {', '.join(parts)}; {counted(result.total('cells'), 'cell')}: "
        f"{result.total('wrong')} wrong, {counted(result.total('failed'), 'failed probe')}, "
        f"{result.total('retried')} probed again; {duration(result.seconds)}"
    )


def to_json(result: RunResult) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "holds": result.holds,
        "seconds": round(result.seconds, 2),
        "not_probed": list(result.not_probed),
        "stopped": result.stopped,
        "known_differences": [
            {"id": known.id, "cells": cells, "meaning": known.meaning, "reference": known.reference}
            for known, cells in result.known.items()
        ],
        "totals": {
            "cases": len(result.cases),
            **{status.replace(" ", "_"): result.count(status) for status in ("holds", "differs", "not run")},
            **{what: result.total(what) for what in ("cells", "wrong", "failed", "retried")},
        },
        "marks": {mark.value: mark.name.lower().replace("_", " ") for mark in Mark},
        "cases": [_case(case) for case in result.cases],
    }


def _case(case: CaseResult) -> dict[str, Any]:
    return {
        "name": case.name,
        "shows": case.shows,
        "theme": case.theme,
        "status": case.status,
        "not_run": case.not_run,
        "problem": case.problem,
        "notes": list(case.notes),
        "seconds": round(case.seconds, 3),
        "steps": {name: round(seconds, 3) for name, seconds in case.steps.items()},
        **{what: getattr(case, what) for what in ("cells", "wrong", "failed", "retried")},
        "known_differences": case.known_cells,
        "tables": list(_tables(case.expected, case.observed)),
        "differences": [_difference(item) for item in case.differences],
    }


def _tables(expected: TruthTable, observed: TruthTable) -> Iterator[dict[str, Any]]:
    """One for each combination; a row's text has a mark for each target, in their order."""
    for combination in expected.combinations():
        wanted, seen = expected.marks(combination), observed.marks(combination)
        sources, targets = (tuple(dict.fromkeys(pair[index] for pair in wanted)) for index in (0, 1))
        yield {
            "via": combination.via,
            "protocol": combination.protocol,
            "port": combination.port,
            "targets": list(targets),
            "expected": {source: "".join(wanted[source, target].value for target in targets) for source in sources},
            "observed": {
                source: "".join(seen.get((source, target), Mark.FAILED).value for target in targets)
                for source in sources
            },
        }


def _difference(item: Difference) -> dict[str, Any]:
    combination = item.key.combination
    return {
        "from": item.key.source,
        "to": item.key.target,
        "via": combination.via,
        "protocol": combination.protocol,
        "port": combination.port,
        "expected": item.expected.mark.value,
        "rule": item.expected.reason,
        "observed": item.observed.mark.value,
        "seen": item.observed.reason,
    }


def to_junit(result: RunResult) -> str:
    """XML as CI systems read it: wrong cells are failures, probes that did not work are errors."""
    suite = ElementTree.Element(
        "testsuite",
        name=SUITE_NAME,
        tests=str(len(result.cases)),
        failures=str(sum(not case.holds and not case.failed and not case.not_run for case in result.cases)),
        errors=str(sum(case.failed > 0 for case in result.cases)),
        skipped=str(result.count("not run")),
        time=f"{result.seconds:.3f}",
    )
    for case in result.cases:
        element = ElementTree.SubElement(
            suite,
            "testcase",
            name=case.name,
            classname=f"{SUITE_NAME}.{case.theme or 'files'}",
            time=f"{case.seconds:.3f}",
        )
        _junit_outcome(element, case)
    if result.not_probed or result.stopped or result.known:
        lines = list(totals(result))[:-1]
        ElementTree.SubElement(suite, "system-out").text = _xml("\n".join(lines))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _junit_outcome(element: ElementTree.Element, case: CaseResult) -> None:
    if case.not_run:
        ElementTree.SubElement(element, "skipped", message=_xml(case.not_run))
    elif not case.holds:
        kind = "error" if case.failed else "failure"
        found = ElementTree.SubElement(element, kind, message=_xml(case.problem or _outcome(case)))
        found.text = _xml("\n".join(["", *case_details(case, with_grids=False), ""]))


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def write(result: RunResult, json_file: Path | None, junit_file: Path | None) -> None:
    """Write the files that are asked for. Raises UserError."""
    if json_file is not None:
        output_files.write("--json", json_file, json.dumps(to_json(result), indent=1, ensure_ascii=False) + "\n")
    if junit_file is not None:
        output_files.write("--junit", junit_file, to_junit(result))
