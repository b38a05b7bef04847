"""The commands of ./inv, each a thin front of what does the work."""

import functools
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from kubeproof.cli.command_line import Command, CommandLine, as_typed
from kubeproof.terminal.errors import EXIT_BAD_INPUT, EXIT_NOT_HOLDING, CommandError, UserError

if TYPE_CHECKING:
    from kubeproof.config.cluster import LoadedInventory
    from lab.settings import LabSettings

EXIT_INTERRUPTED = 130
ROOT = Path(__file__).resolve().parent
INVENTORY_HELP = {"inventory": "inventory file (default: the lab's)"}
LIMIT_HELP = {"limit": "only this host (may be repeated; default: all)"}

# What a command needs is imported when it runs: listing them takes no time, and one part's fault stops no other part.


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Turn what a user can act on into its lines and exit code; the function's result is the exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            code = function(*args, **kwargs) or 0
        except UserError as error:
            code = _report(error.problems, EXIT_BAD_INPUT)
        except CommandError as error:
            code = _report([_one_line(error)], EXIT_NOT_HOLDING)
        except PermissionError as error:
            where = error.filename or "user"
            code = _report([f"{where}: {error.strerror}, run it as root"], EXIT_BAD_INPUT)
        except OSError as error:
            # A full disk, a file that cannot be read, a service that went away.
            code = _report([str(error)], EXIT_NOT_HOLDING)
        except KeyboardInterrupt:
            print("interrupted; run the command again to go on", file=sys.stderr)
            code = EXIT_INTERRUPTED
        if code:
            raise Exit(code=code)

    return run


def _report(problems: "list[str] | tuple[str, ...]", code: int) -> int:
    for line in problems:
        # A finding tells itself what it is.
        print(line if line.startswith("[error] ") else f"error: {line}", file=sys.stderr)
    return code


def _one_line(error: CommandError) -> str:
    """The command, the last line that it wrote, and the log."""
    first, *rest = str(error).splitlines()
    return " ".join([f"{first}:" if rest else first, *rest[-2:]])


def _path(written: str) -> Path:
    """A path as the user's shell sees it: ./inv changes to the repository's root before anything else."""
    return Path(os.environ.get("KUBEPROOF_CALLER_FOLDER", ROOT), written)


def _file(written: str) -> Path | None:
    return _path(written) if written else None


def _loaded(inventory: str) -> "LoadedInventory":
    """The inventory of that file, or the lab's."""
    from kubeproof.config import cluster

    return cluster.load(_path(inventory) if inventory else cluster.LAB)


def _entered(inventory: str, *, leader_only: bool = False) -> "LoadedInventory":
    """That inventory, with the passwords that sudo asks for on its hosts, or on the control plane host."""
    loaded = _loaded(inventory)
    return _ready(loaded, [loaded.cluster.leader.name] if leader_only else ())


def _ready(loaded: "LoadedInventory", names: Sequence[str] = ()) -> "LoadedInventory":
    """The same of hosts by name, all by default. UserError if they cannot be entered."""
    from kubeproof.access import openssh, sudo

    openssh.check_jumps(loaded, names)
    return sudo.ready(loaded, names)


def _lab(*, as_root: bool = False) -> "LabSettings":
    from lab import lifecycle, settings

    if as_root:
        lifecycle.require_root()
    return settings.load()


def _say_changes(what: str, number: int, noun: str = "change") -> None:
    from kubeproof.terminal.console import say
    from kubeproof.terminal.summary import counted

    say(f"{what}: {counted(number, noun)}")


def _deploy(
    inventory: str, file: str, *, dry: bool = False, env: "dict[str, str] | None" = None, limit: Sequence[str] = ()
) -> int:
    """Check an inventory and run a deploy file on it, all hosts or those that ``limit`` names; return the number of
    changes. CommandError if one fails."""
    from rich.markup import escape

    from kubeproof.access import openssh
    from kubeproof.deploy import pyinfra_run, run_report
    from kubeproof.terminal.console import console, say
    from kubeproof.terminal.summary import counted

    loaded = _loaded(inventory)
    left_out = loaded.cluster.left_out(limit)
    openssh.check(loaded, left_out)
    outcome = pyinfra_run.run(loaded.file, ROOT / file, dry=dry, env=env, limit=limit)
    for line in run_report.plan_lines(outcome.changes, [node.name for node in loaded.cluster.nodes]) if dry else ():
        console.print(escape(line), soft_wrap=True, highlight=False)
    if left_out:
        # Also where others fail: it says what has not been looked at.
        say(run_report.left_out_line(left_out, loaded.cluster.leader.name))
    if outcome.failures:
        raise CommandError(f"failed on {outcome.failure} (full log: {outcome.log})")
    say(f"[bold]{counted(outcome.count, 'change')}[/bold]{' to make' if dry else ''} (full log: {outcome.log})")
    return outcome.count


def _verify(inventory: str, json_file: str, html_file: str = "", limit: Sequence[str] = ()) -> int:
    from kubeproof.proof import proving
    from kubeproof.proof.report import to_json
    from kubeproof.terminal.reporting import as_json

    loaded = _loaded(inventory)
    left_out = frozenset(loaded.cluster.left_out(limit))
    if html_file and limit:
        raise UserError("--html: draws the whole cluster, leave out --limit")
    loaded = _ready(loaded)
    if not html_file:
        return proving.verify(loaded, [as_json(_file(json_file), to_json)], left_out=left_out)
    from kubeproof.pages import writing

    return writing.verify(loaded, _file(json_file), _path(html_file))


@task
@command
def up(_context: Context) -> int:
    """Everything, from nothing to a proven cluster."""
    from kubeproof.terminal.console import console
    from kubeproof.terminal.summary import Summary
    from lab import group_data, lifecycle, network_requirements

    summary = Summary()
    verdicts: list[int] = []
    lab = _lab()
    network_requirements.check(lab, group_data.settings())
    lifecycle.up(lab, summary)
    summary.change("deploy", lambda: _deploy("", "deploy.py"))
    summary.check("proof", lambda: verdicts.append(_verify("", "")))
    summary.show()
    console.print(
        "\nTry next: ./inv demo · ./inv kubectl -- get pods -A -o wide · ./inv status · ./inv reset · ./inv lab.down"
    )
    return verdicts[0]


@task(iterable=["limit"], help={**INVENTORY_HELP, **LIMIT_HELP})
@command
def plan(_context: Context, inventory: str = "", limit: Any = None) -> None:
    """Show what `apply` would change, changing nothing."""
    _deploy(inventory, "deploy.py", dry=True, limit=limit or ())


@task(iterable=["limit"], help={**INVENTORY_HELP, **LIMIT_HELP})
@command
def apply(_context: Context, inventory: str = "", limit: Any = None) -> None:
    """Make the hosts a cluster, or bring it to what is set."""
    _deploy(inventory, "deploy.py", limit=limit or ())


@task(
    klass=Command,
    iterable=["limit"],
    help={
        **INVENTORY_HELP,
        **LIMIT_HELP,
        "json": "also write the results to this file",
        "html": "also write the page of `report` to this file",
    },
)
@command
def verify(_context: Context, inventory: str = "", json: str = "", html: str = "", limit: Any = None) -> int:
    """Prove the cluster's network, all of it."""
    return _verify(inventory, json, html, limit or ())


@task(help={**INVENTORY_HELP, "file": "HTML file to write", "since": "an earlier page, to show what differs from it"})
@command
def report(_context: Context, file: str, inventory: str = "", since: str = "") -> None:
    """Draw the network and its proof as a page of HTML."""
    from kubeproof.pages import writing

    writing.report(_entered(inventory), _path(file), _file(since))


@task(help={**INVENTORY_HELP, "json": "also write the diagnoses to this file"})
@command
def doctor(_context: Context, inventory: str = "", json: str = "") -> int:
    """Say what is wrong with a cluster, and what to do about it."""
    from kubeproof.doctor import examining

    return examining.examine(_entered(inventory), _file(json))


@task(help={**INVENTORY_HELP, "name": "what the context is called (default: as the inventory file)"})
@command
def kubeconfig(_context: Context, inventory: str = "", name: str = "") -> None:
    """Merge the cluster into your kubeconfig, for kubectl here."""
    from rich.markup import escape

    from kubeproof.access import user_kubeconfig

    loaded = _entered(inventory, leader_only=True)
    name = name or loaded.file.stem
    path, changed = user_kubeconfig.merge(loaded, name, _path("."))
    _say_changes(escape(f"context {name} in {path}"), int(changed))


def _forget_kubeconfig(inventory: str) -> None:
    """Take the cluster, which is gone, out of the user's kubeconfig; what keeps it in there is only told."""
    from rich.markup import escape

    from kubeproof.access import user_kubeconfig
    from kubeproof.terminal.console import say

    try:
        for path in user_kubeconfig.forget(_loaded(inventory), _path(".")):
            say(f"the cluster was taken out of {escape(str(path))}")
    except UserError as error:
        print(f"warning: kubeconfig: {error}", file=sys.stderr)


@task(help={**INVENTORY_HELP, "keep_hosts": "take only the cluster away; Docker, packages and images stay"})
@command
def reset(_context: Context, inventory: str = "", keep_hosts: bool = False) -> None:
    """Tear the cluster down; the hosts are as before it."""
    _deploy(inventory, "reset.py", env={"KUBEPROOF_KEEP_HOSTS": "1"} if keep_hosts else None)
    _forget_kubeconfig(inventory)


@task(
    name="remove",
    iterable=["name"],
    help={**INVENTORY_HELP, "name": "a worker; also as plain arguments: ./inv node.remove NAME …"},
)
@command
def node_remove(_context: Context, name: Any = None, inventory: str = "") -> int:
    """Take workers out of the cluster for good."""
    from kubeproof.deploy import node_removal
    from lab import inventory as of_lab

    loaded, names = _loaded(inventory), list(name or ())
    node_removal.check(loaded.cluster, names)
    loaded = _ready(loaded, [loaded.cluster.leader.name])
    advice = node_removal.advice(inventory, names) if inventory else of_lab.advice(_lab(), names)
    return 0 if node_removal.remove(loaded, names, advice) else EXIT_NOT_HOLDING


@task(help=INVENTORY_HELP)
@command
def demo(_context: Context, inventory: str = "") -> int:
    """Ask the demo application on every node, from outside."""
    from kubeproof.proof import demo_client

    return demo_client.show(_loaded(inventory).cluster)


@task(help={**INVENTORY_HELP, "step": "play up to this step only (0 to 4)", "keep": "leave its policies as they are"})
@command
def policy(_context: Context, inventory: str = "", step: str = "", keep: bool = False) -> int:
    """Show NetworkPolicy at work on the demo, step by step."""
    from kubeproof import walkthrough

    return walkthrough.play(_entered(inventory), step=step, keep=keep)


@task(
    iterable=["file"],
    help={
        **INVENTORY_HELP,
        "file": "policies to apply, also as plain arguments: ./inv matrix FILE … (default: the built-in suite)",
        "json": "also write the results to this file",
        "junit": "also write a JUnit report to this file",
        "only": "cases of the suite by name, e.g. 'ports-*'",
        "verbose": "grids of every case, not only of those that differ",
        "keep": "leave the probe pods for the next run",
    },
)
@command
def matrix(
    _context: Context,
    file: Any = None,
    inventory: str = "",
    json: str = "",
    junit: str = "",
    only: str = "",
    verbose: bool = False,
    keep: bool = False,
) -> int:
    """Try what policies allow and hold it against what they say."""
    from kubeproof import matrix as truth

    files, json_file, junit_file = [_path(name) for name in file or ()], _file(json), _file(junit)
    options = truth.Options(files, json_file, junit_file, only or None, verbose, keep)
    return truth.run(_entered(inventory), options)


@task(
    positional=[],
    iterable=["file"],
    help={
        **INVENTORY_HELP,
        "from": "client: NAMESPACE/POD, an address, or with the cluster a node",
        "to": "server: likewise, or a Service's NAMESPACE/NAME or address",
        "port": "number or name",
        "protocol": "TCP, UDP, SCTP or ICMP",
        "file": "objects to read (may be repeated); without it the cluster is asked",
    },
)
@command
def explain(
    _context: Context,
    file: Any = None,
    from_: str = "",
    to: str = "",
    port: str = "",
    protocol: str = "TCP",
    inventory: str = "",
) -> int:
    """Say whether policies allow a connection, and why."""
    from kubeproof.policy import explain as engine

    files = [_path(name) for name in file or ()]
    load = None if files else functools.partial(_entered, inventory, leader_only=True)
    return engine.run(load, source=from_, destination=to, port=port, protocol=protocol, files=files)


@task(
    klass=Command,
    positional=["source", "destination"],
    help={
        **INVENTORY_HELP,
        "source": "FROM, the first plain argument: NAMESPACE/POD, a node, an address, or outside",
        "destination": "TO, the second: the same, or a Service, NODE:NODEPORT, or a name outside",
        "port": "number or name (default: the only one that there is)",
        "protocol": "tcp, udp, sctp or icmp",
        "file": "predict from the state that ./inv collect wrote into this folder; nothing is sent",
        "predict": "send no packet, only predict",
        "json": "print JSON instead of the table, with all hops of all paths",
        "html": "also draw it over the page of `report`, into this file (live cluster only)",
    },
)
@command
def trace(
    _context: Context,
    source: str,
    destination: str,
    port: str = "",
    protocol: str = "tcp",
    file: str = "",
    predict: bool = False,
    json: bool = False,
    html: str = "",
    inventory: str = "",
) -> int:
    """Follow a packet hop by hop, as predicted and as seen."""
    from kubeproof.trace import running
    from kubeproof.trace.endpoints import Asked

    draw: running.Draw | None = None
    if html:
        from kubeproof.pages import writing

        draw = writing.drawing(_path(html), live=not file)
    return running.trace(
        functools.partial(_entered, inventory),
        Asked(source, destination, port, protocol),
        folder=_path(file) if file else None,
        as_json=json,
        sends=not predict,
        draw=draw,
    )


@task(
    positional=["folder"],
    help={**INVENTORY_HELP, "folder": "to write to: new, empty, or one that this command wrote before"},
)
@command
def collect(_context: Context, folder: str, inventory: str = "") -> int:
    """Write the nodes' network state into a folder."""
    from kubeproof.trace import running

    return running.collect(_entered(inventory), _path(folder))


@task(help=INVENTORY_HELP)
@command
def status(_context: Context, inventory: str = "") -> int:
    """Show the lab, the cluster's nodes and its pods."""
    from kubeproof.access import remote_kubectl

    if not inventory:
        from lab import lifecycle

        lifecycle.show_status(_lab())
    loaded = _entered(inventory, leader_only=True)
    codes = [remote_kubectl.run(loaded, ["get", what, "-A", "-o", "wide"]) for what in ("nodes", "pods")]
    return max(codes)


@task(help=INVENTORY_HELP)
@command
def kubectl(_context: Context, inventory: str = "") -> int:
    """Run kubectl: ./inv kubectl -- get pods -A."""
    from kubeproof.access import remote_kubectl

    # invoke joins the words with spaces, which would tear quoted ones apart.
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if remote_kubectl.has_terminal():
        return remote_kubectl.run(_loaded(inventory), words, terminal=True)
    return remote_kubectl.run(_entered(inventory, leader_only=True), words)


@task(
    help={
        "rounds": "how often both are timed (default: 3)",
        "hosts": "instead, what a plan and a deploy cost with so many scripted hosts, e.g. 10,100,1000",
        "agent": "instead, what one podnet costs with so many generated nodes and a stand-in of the API, e.g. 100,500",
    }
)
@command
def bench(_context: Context, rounds: str = "", hosts: str = "", agent: str = "") -> int:
    """Time the deploy beside the bare commands, on the lab."""
    from lab import bench

    if hosts:
        return _run_all([["tests.scale.hosts", *map(str, bench.sizes_of("--hosts", hosts))]])
    if agent:
        return _run_all([["tests.scale.agent", *map(str, bench.nodes_of(agent))]])
    return bench.run(_lab(), bench.rounds_of(rounds) if rounds else bench.ROUNDS)


def _run_all(commands: list[list[str]]) -> int:
    """Run development tools one after the other, all of them; the worst exit code."""
    worst = 0
    for words in commands:
        print(f"$ {shlex.join(words)}", flush=True)
        program, *options = words
        tool = [str(BIN / program)] if program in PROGRAMS else [sys.executable, "-m", program]
        worst = max(worst, subprocess.run([*tool, *options], cwd=ROOT, check=False).returncode)
    return min(worst, EXIT_NOT_HOLDING)


TEST_PACKAGES = ("dnsmasq-base", "python3-pyroute2", "chromium")
"""What unit tests need beside a lab's packages: two that agents have in the lab's images, and a browser."""
EVERY_CORE = ("-n", "auto", "--dist", "worksteal")
"""Options of pytest for tests that do not touch each other; one lab, on the other hand, is everybody's."""
PYTEST = ("pytest", "-q", "--durations=10")
LAB_TESTS = (*PYTEST, "-x")
BIN = Path(sys.executable).parent
PROGRAMS = ("lint-imports", "shellcheck")
"""What is no module of Python that can be run, as the other tools are."""


def _lint_commands() -> list[list[str]]:
    scripts = ["inv", "lab/attach-tap", "lab/launch-node", "lab/prepare-node"]
    scripts += [str(file.relative_to(ROOT)) for file in sorted((ROOT / "kubeproof").rglob("*.sh"))]
    return [
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy"],
        ["lint-imports", "--no-logo", "--no-cache"],
        ["shellcheck", "--shell=sh", "--severity=warning", *scripts],
    ]


@task
@command
def lint(_context: Context) -> int:
    """Format, style and types of the code."""
    return _run_all(_lint_commands())


@task
@command
def docs(_context: Context) -> None:
    """Write the generated tables of docs/ anew."""
    from kubeproof.cli import reference_tables

    _say_changes("docs", len(reference_tables.refresh()))


def _install_for_tests() -> None:
    """What tests run outside of the lab's images; any other user's tests that need it skip and say so."""
    if os.geteuid() != 0:
        return
    from lab import preflight

    preflight.install_packages(TEST_PACKAGES)


def _test_on_lab(module: str) -> int:
    """Run the tests of one module in tests/lab, on a lab that is made if there is none. Raises UserError."""
    from kubeproof.config.reading import closest
    from lab import network

    known = sorted(path.stem.removeprefix("test_") for path in (ROOT / "tests" / "lab").glob("test_*.py"))
    if module not in known:
        meant = closest(module, known)
        hint = f"did you mean {meant}?" if meant else f"use one of {', '.join(known)}"
        raise UserError([f"--only: no module of tests/lab ({module}), {hint}"])
    if not network.is_up(_lab()) and (code := subprocess.call([sys.executable, "tasks.py", "up"], cwd=ROOT)):
        return code
    return _run_all([[*LAB_TESTS, f"tests/lab/test_{module}.py"]])


@task(
    name="test",
    help={
        "fast": "only what needs neither root nor the lab",
        "only": "one module of tests/lab, e.g. podnet, on the lab as it is (made first if there is none)",
    },
)
@command
def run_tests(_context: Context, fast: bool = False, only: str = "") -> int:
    """All tests, with the lab; --fast: without root and lab."""
    if only:
        return _test_on_lab(only)
    # Marked netns: what makes network namespaces, as only root may.
    unit_tests = [*PYTEST, *EVERY_CORE, "tests/unit", *(["-m", "not netns"] if fast else [])]
    if not fast:
        _install_for_tests()
    code = _run_all([*_lint_commands(), unit_tests])
    if fast or code:
        return code
    return _run_all([[*LAB_TESTS, "tests/lab"]])


@task(name="up")
@command
def lab_up(_context: Context) -> None:
    """Bring up the lab's mirror and nodes, without a cluster."""
    from kubeproof.terminal.summary import Summary
    from lab import lifecycle

    summary = Summary()
    lifecycle.up(_lab(), summary)
    summary.show()


@task(name="down", help={"all": "caches, logs and guarding routes too"})
@command
def lab_down(_context: Context, all: bool = False) -> None:
    """Remove the lab from the machine; caches stay."""
    from lab import lifecycle

    _say_changes("lab removed", lifecycle.down(_lab(), everything=all))


def _node_command(action: str, shows: str) -> Any:
    """A command for one node of the lab, named after what is done to it."""

    def run(_context: Context, node: str) -> None:
        from lab import nodes

        _lab().node(node)
        _say_changes(node, getattr(nodes, action)(_lab(as_root=True), node))

    run.__doc__ = shows
    return task(name=action, help={"node": "its name, e.g. k8s-node1"})(command(run))


lab_start = _node_command("start", "Start a node of the lab.")
lab_stop = _node_command("stop", "Shut a node of the lab down.")
lab_reboot = _node_command("reboot", "Shut a node of the lab down and start it again.")


@task(name="snapshot", help={"name": "what it shall be called"})
@command
def lab_snapshot(_context: Context, name: str) -> int:
    """Keep the lab's nodes as they are, under a name."""
    from kubeproof.terminal.summary import Summary
    from lab import snapshots

    return snapshots.take(_lab(as_root=True), name, Summary())


@task(name="restore", help={"name": "a snapshot's, see `./inv lab.snapshots`"})
@command
def lab_restore(_context: Context, name: str) -> int:
    """Give the lab's nodes back what a snapshot has kept."""
    from kubeproof.terminal.summary import Summary
    from lab import snapshots

    return snapshots.restore(_lab(as_root=True), name, Summary())


@task(name="snapshots", help={"remove": "delete the snapshot of this name"})
@command
def lab_snapshots(_context: Context, remove: str = "") -> None:
    """Show the lab's snapshots, or delete one."""
    from lab import lifecycle, snapshots

    lifecycle.require_root()
    if remove:
        snapshots.remove(remove)
    snapshots.show_all()


@task(name="status")
@command
def lab_status(_context: Context) -> int:
    """Show the lab's bridge, mirror and nodes."""
    from lab import lifecycle

    return 0 if lifecycle.show_status(_lab()) else EXIT_NOT_HOLDING


@task(name="build")
@command
def mirror_build(_context: Context) -> None:
    """Build what the mirror serves, if it is not cached."""
    _build_mirror()


def _build_mirror() -> None:
    from kubeproof.terminal.summary import Summary
    from lab import mirror, preflight

    summary = Summary()
    lab = _lab()
    summary.check("preflight", lambda: preflight.check(lab))
    summary.change("system packages", preflight.install_packages)
    summary.change("mirror", lambda: mirror.build(lab))
    summary.show()


@task(name="add", iterable=["image"], help={"image": "REGISTRY/PATH:TAG, FILE, or NAME=FILE; also as plain arguments"})
@command
def mirror_add(_context: Context, image: Any = None) -> None:
    """Put images of others into the lab's registry."""
    from lab import mirror, preflight

    lab = _lab(as_root=True)
    preflight.install_packages(preflight.IMAGE_PACKAGES)
    _say_changes("added", mirror.add(lab, list(image or ()), _path(".")), "image")


@task(name="status")
@command
def mirror_status(_context: Context) -> int:
    """Show the mirror's services."""
    from kubeproof.terminal.console import say
    from lab import bundle, mirror

    if used := bundle.in_use():
        say(f"made from a bundle: {used}")
    rows = mirror.status(_lab())
    for name, url, state in rows:
        say(f"{name}: {state} at {url}")
    return EXIT_NOT_HOLDING if not all(state.startswith("running") for _, _, state in rows) else 0


@task(name="save", help={"file": "to write; it must not be there yet"})
@command
def bundle_save(_context: Context, file: str) -> None:
    """Write what an `up` takes from elsewhere to a file."""
    from lab import bundle

    lab = _lab(as_root=True)
    bundle.check_target(_path(file))
    _build_mirror()
    bundle.save(lab, _path(file))


@task(name="use", help={"file": "what `bundle.save` has written, here or on another machine"})
@command
def bundle_use(_context: Context, file: str) -> None:
    """Make the lab from a bundle, without a network."""
    from lab import bundle

    bundle.use(_lab(as_root=True), _path(file))


namespace = Collection(
    *(up, plan, apply, verify, report, doctor, reset, demo, policy, matrix, explain),
    *(trace, collect, status, kubectl, kubeconfig, bench, lint, docs, run_tests),
)
LAB = (lab_up, lab_down, lab_start, lab_stop, lab_reboot, lab_snapshot, lab_restore, lab_snapshots, lab_status)
namespace.add_collection(Collection("lab", *LAB))
namespace.add_collection(Collection("node", node_remove))
namespace.add_collection(Collection("bundle", bundle_save, bundle_use))
namespace.add_collection(Collection("mirror", mirror_add, mirror_build, mirror_status))

if __name__ == "__main__":
    CommandLine(namespace=namespace, binary="./inv").run(as_typed(sys.argv))
