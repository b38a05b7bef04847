"""Truth tables as text: expected, observed and difference side by side, rows from, columns to. Pure."""

from collections.abc import Container, Iterable, Iterator, Sequence

from kubeproof.matrix.table import Combination, Difference, Key, Mark, TruthTable, known_differences, names

SAME = "="
KNOWN = "k"
LEGEND = (
    ". allowed   X blocked   ! the probe itself failed   - not probed   = as expected   k as is known of the network"
)
GAP = "   "
MOST_DIFFERENCES = 12
"""Wrong cells that a terminal shows for one case; the files have all of them."""
_VIAS = ("pod address", "Service address", "Service name", "NodePort")

Pairs = dict[tuple[str, str], Mark]


def grids(expected: TruthTable, observed: TruthTable) -> Iterator[str]:
    """Lines of all grids: combinations of which both grids are the same share one, under a heading that names them."""
    groups: dict[tuple[tuple[object, ...], ...], list[Combination]] = {}
    for combination in expected.combinations():
        wanted, seen = expected.marks(combination), observed.marks(combination)
        known = _known(expected, observed, combination)
        alike = tuple((pair, mark, seen.get(pair, Mark.FAILED), pair in known) for pair, mark in wanted.items())
        groups.setdefault(alike, []).append(combination)
    for combinations in groups.values():
        first = combinations[0]
        keys = [key for key in expected.cells if key.combination == first]
        yield heading(combinations)
        yield from _grid(keys, expected.marks(first), observed.marks(first), _known(expected, observed, first))
        yield ""


def _known(expected: TruthTable, observed: TruthTable, combination: Combination) -> set[tuple[str, str]]:
    """Pairs that differ as the pod network is known for."""
    items = known_differences(expected, observed)
    return {(item.key.source, item.key.target) for item in items if item.key.combination == combination}


def heading(combinations: Iterable[Combination]) -> str:
    """Combinations in few words: ``TCP 80 81, UDP 80 by pod address, Service address``."""
    ports_by_via: dict[str, dict[str, list[str]]] = {}
    for item in sorted(combinations, key=lambda item: _VIAS.index(item.via)):
        ports_by_via.setdefault(item.via, {}).setdefault(item.protocol, []).append(str(item.port))
    vias_by_ports: dict[str, list[str]] = {}
    for via, by_protocol in ports_by_via.items():
        ports = ", ".join(f"{protocol} {' '.join(numbers)}" for protocol, numbers in by_protocol.items())
        vias_by_ports.setdefault(ports, []).append(via)
    return "; ".join(f"{ports} by {', '.join(vias)}" for ports, vias in vias_by_ports.items())


def _grid(keys: Sequence[Key], wanted: Pairs, seen: Pairs, known: Container[tuple[str, str]]) -> Iterator[str]:
    sources, targets = names(keys)
    left = max(len(source) for source in sources)
    width = max(2 * len(targets) - 1, len("difference"))
    yield (
        f"{'':{left}}{GAP}" + GAP.join(f"{title:{width}}" for title in ("expected", "observed", "difference")).rstrip()
    )
    for line in _columns(targets):
        yield f"{'':{left}}{GAP}" + GAP.join(f"{line:{width}}" for _ in range(3)).rstrip()
    for source in sources:
        pairs = [(source, target) for target in targets]
        rows = (
            [wanted[pair].value if pair in wanted else " " for pair in pairs],
            [seen.get(pair, Mark.FAILED).value if pair in wanted else " " for pair in pairs],
            [KNOWN if pair in known else _difference(pair, wanted, seen) for pair in pairs],
        )
        yield f"{source:{left}}{GAP}" + GAP.join(f"{' '.join(row):{width}}" for row in rows).rstrip()


def _columns(targets: Sequence[str]) -> Iterator[str]:
    """Names of columns, one character wide: the namespace above the pod."""
    parts = [target.rpartition("/") for target in targets]
    yield " ".join(namespace[-1:] or " " for namespace, _, _ in parts)
    yield " ".join(pod[-1:] for _, _, pod in parts)


def _difference(pair: tuple[str, str], wanted: Pairs, seen: Pairs) -> str:
    if pair not in wanted:
        return " "
    observed = seen.get(pair, Mark.FAILED)
    if Mark.NOT_PROBED in (wanted[pair], observed):
        return Mark.NOT_PROBED.value
    return SAME if observed is wanted[pair] else observed.value


def explanations(differences: Sequence[Difference], most: int = MOST_DIFFERENCES) -> Iterator[str]:
    """For each wrong pair: what differs, in which ways to it, and the rule that should have decided."""
    groups: dict[tuple[str, str, str, str, str], list[Difference]] = {}
    for item in differences:
        group = (item.key.source, item.key.target, item.expected.mark.name, item.observed.mark.name, _of(item))
        groups.setdefault(group, []).append(item)
    for number, items in enumerate(groups.values()):
        if number == most:
            left = sum(len(rest) for rest in list(groups.values())[most:])
            yield f"… and {left} cells more; --json FILE has all of them"
            return
        yield from _explanation(items)


def _of(item: Difference) -> str:
    """What groups differences: a failed probe's reason, or the rule that decided, of whatever port."""
    if item.failed:
        return item.observed.reason
    combination = item.key.combination
    return item.expected.reason.replace(f"{combination.protocol} {combination.port}", "")


def _explanation(items: Sequence[Difference]) -> Iterator[str]:
    first = items[0]
    words = {Mark.ALLOWED: "allowed", Mark.BLOCKED: "blocked", Mark.FAILED: "the probe failed"}
    expected, observed = words[first.expected.mark], words[first.observed.mark]
    ways = heading(item.key.combination for item in items)
    pair = f"{first.key.source} -> {first.key.target}"
    yield f"{first.observed.mark.value} {pair}  {ways}: expected {expected}, observed {observed}"
    if first.observed.reason:
        yield f"    seen: {first.observed.reason}"
    yield from (f"    rule: {line}" for line in first.expected.reason.splitlines())
