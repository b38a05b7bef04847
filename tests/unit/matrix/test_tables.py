"""Truth tables, their comparison and their grids."""

from collections import Counter

from kubeproof.matrix.grids import explanations, grids, heading
from kubeproof.matrix.table import Cell, Combination, Difference, Key, Mark, TruthTable, compare, compared

TCP = Combination("pod address", "TCP", 80)
BY_NAME = Combination("Service name", "TCP", 80)
MARKS = {".": Mark.ALLOWED, "X": Mark.BLOCKED, "!": Mark.FAILED, "-": Mark.NOT_PROBED}
PAIRS = [("x/a", "x/b"), ("x/a", "y/c"), ("node1", "x/b"), ("node1", "y/c")]


def table(marks: str, combination: Combination = TCP, reason: str = "") -> TruthTable:
    """Four cells, as a grid of two rows is read."""
    return TruthTable(
        {
            Key(combination, *pair): Cell(MARKS[mark], reason)
            for pair, mark in zip(PAIRS, marks, strict=True)
            if mark != " "
        }
    )


def differing(expected: str, observed: str) -> list[tuple[str, str, bool]]:
    return [(item.key.source, item.key.target, item.failed) for item in compare(table(expected), table(observed))]


def counts(table: TruthTable) -> Counter[Mark]:
    return Counter(cell.mark for cell in table.cells.values())


def test_only_what_differs_is_a_difference() -> None:
    assert differing(".X.X", ".X.X") == []
    assert differing(".X.X", "X..X") == [("x/a", "x/b", False), ("x/a", "y/c", False)]


def test_a_failed_probe_is_never_what_was_expected() -> None:
    assert differing(".X.X", "!!.X") == [("x/a", "x/b", True), ("x/a", "y/c", True)]


def test_a_cell_without_a_result_is_a_failed_probe() -> None:
    assert differing(".X.X", ". .X") == [("x/a", "y/c", True)]


def test_what_is_not_probed_counts_neither_way() -> None:
    assert differing("-X.X", "XX-X") == []
    assert compared(table("-X.X"), table("XX-X")) == 2


def test_counts_and_replacement() -> None:
    first = table("..X!")
    assert counts(first) == {Mark.ALLOWED: 2, Mark.BLOCKED: 1, Mark.FAILED: 1}
    newer = first.replaced({Key(TCP, "node1", "y/c"): Cell(Mark.ALLOWED)})
    assert counts(newer)[Mark.FAILED] == 0
    assert list(newer.cells) == list(first.cells)


def test_a_grid_has_rows_from_and_columns_to() -> None:
    assert list(grids(table(".X.X"), table("..!X"))) == [
        "TCP 80 by pod address",
        "        expected     observed     difference",
        "        x y          x y          x y",
        "        b c          b c          b c",
        "x/a     . X          . .          = .",
        "node1   . X          ! X          ! =",
        "",
    ]


def test_cells_that_are_not_there_are_empty_in_grids() -> None:
    rows = list(grids(table(".X- "), table(".X- ")))[4:6]
    assert rows == ["x/a     . X          . X          = =", "node1   -            -            -"]


def test_combinations_that_are_alike_share_a_grid() -> None:
    both = TruthTable({**table(".X.X").cells, **table(".X.X", BY_NAME).cells})
    assert [line for line in grids(both, both) if " by " in line] == ["TCP 80 by pod address, Service name"]
    other = TruthTable({**table(".X.X").cells, **table("XX.X", BY_NAME).cells})
    assert [line for line in grids(both, other) if " by " in line] == [
        "TCP 80 by pod address",
        "TCP 80 by Service name",
    ]


def test_headings_are_short() -> None:
    every = [
        Combination(via, protocol, port)
        for protocol in ("TCP", "SCTP")
        for port in (80, 81)
        for via in ("pod address", "Service name")
    ]
    assert heading(every) == "TCP 80 81, SCTP 80 81 by pod address, Service name"
    assert heading(every[1:]) == "TCP 81, SCTP 80 81 by pod address; TCP 80 81, SCTP 80 81 by Service name"


def test_differences_are_explained_once_for_all_ways() -> None:
    rule = "denied: ingress of x/b: isolated by x/deny; no rule allows TCP 80 from x/a"
    expected = TruthTable({**table("X.X.", reason=rule).cells, **table("X.X.", BY_NAME, rule).cells})
    observed = TruthTable({**table("..X.", reason="answered").cells, **table("..X!", BY_NAME, "reset").cells})
    lines = list(explanations(compare(expected, observed)))
    assert lines == [
        ". x/a -> x/b  TCP 80 by pod address, Service name: expected blocked, observed allowed",
        "    seen: answered",
        f"    rule: {rule}",
        "! node1 -> y/c  TCP 80 by Service name: expected allowed, observed the probe failed",
        "    seen: reset",
        f"    rule: {rule}",
    ]


def test_one_rule_for_two_ports_is_told_once() -> None:
    items = [
        Difference(
            Key(Combination("pod address", "TCP", port), "x/a", "x/b"),
            Cell(Mark.BLOCKED, f"denied: no rule allows TCP {port} from x/a"),
            Cell(Mark.ALLOWED),
        )
        for port in (80, 81)
    ]
    assert len(list(explanations(items))) == 2


def test_explanations_end_somewhere() -> None:
    items = [Difference(Key(TCP, f"x/{number}", "x/b"), Cell(Mark.BLOCKED), Cell(Mark.ALLOWED)) for number in range(20)]
    assert list(explanations(items, most=3))[-1] == "… and 17 cells more; --json FILE has all of them"
