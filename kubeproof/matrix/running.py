"""A whole run of `./inv matrix`: checks, probe pods, cases, reports, and everything put back."""

import fnmatch
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from types import FrameType

from rich.markup import escape

from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.network_conflicts import no_enforcement
from kubeproof.matrix import cases, files, grids, plan, report
from kubeproof.matrix.api import INVALID, Api, ApiError, SshApi
from kubeproof.matrix.cases import Case, Json
from kubeproof.matrix.channel import Asked, Channels
from kubeproof.matrix.deployment import ProbePods
from kubeproof.matrix.labels import Labels
from kubeproof.matrix.layout import OUTSIDE, Layout
from kubeproof.matrix.policies import Loss, Policies, names_of_dropped
from kubeproof.matrix.result import CaseResult, RunResult
from kubeproof.matrix.trial import Bench, Trial
from kubeproof.networks.registry import NETWORKS
from kubeproof.terminal import output_files
from kubeproof.terminal.console import console, say, step
from kubeproof.terminal.errors import EXIT_BAD_INPUT, EXIT_NOT_HOLDING, EXIT_OK, CommandError, UserError

ENFORCERS = (
    *(network.agent.daemon_set for network in NETWORKS.values() if network.enforces),
    *("calico-node", "cilium", "weave-net", "antrea-agent", "kube-router"),
)
"""DaemonSets of CNIs that enforce policies; flannel's, without one of them, enforces none."""
FLANNEL = ("kube-flannel", "kube-flannel-ds")


@dataclass(frozen=True)
class Options:
    files: Sequence[Path] = ()
    json_file: Path | None = None
    junit_file: Path | None = None
    only: str | None = None
    """A pattern of case names (fnmatch)."""
    verbose: bool = False
    keep: bool = False


@dataclass(frozen=True)
class Access:
    """The ways into a cluster; tests have their own."""

    api: Callable[[LoadedInventory], Api] = SshApi
    channels: Callable[[LoadedInventory, Sequence[str]], Asked] = Channels.to
    outside: Callable[[LoadedInventory], IPv4Address | None] = lambda loaded: outside_address(loaded)


def run(loaded: LoadedInventory, options: Options) -> int:
    """Try files, or the built-in suite, and print what differs.

    0: every cell is as expected; 1: one is not, or a probe did not work; 2: bad input, or a cluster that enforces no
    policy, before anything is applied.
    """
    try:
        result = Run(loaded, options).run()
    except UserError as error:
        for problem in error.problems:
            _print(f"error: {problem}")
        return EXIT_BAD_INPUT
    return EXIT_OK if result.holds else EXIT_NOT_HOLDING


class Run:
    """One run. Raises UserError, CommandError, KeyboardInterrupt; whatever happens, the cluster is put back."""

    def __init__(self, loaded: LoadedInventory, options: Options, access: Access | None = None) -> None:
        self._loaded = loaded
        self._options = options
        self._access = access or Access()
        self._shown = 0

    def run(self) -> RunResult:
        started = time.monotonic()
        policies, suite = self._input()
        api = self._access.api(self._loaded)
        try:
            with _terminations_interrupt():
                result = self._with_api(api, policies, suite)
        finally:
            api.close()
        result = replace(result, seconds=time.monotonic() - started)
        for line in report.totals(result):
            _print(line)
        report.write(result, self._options.json_file, self._options.junit_file)
        return result

    # Before anything is applied --------------------------------------------------------------------------------------

    def _input(self) -> tuple[list[Json], tuple[Case, ...]]:
        """Policies of the user's files, or else cases of the suite. Raises UserError with all problems."""
        options = self._options
        problems = [
            *output_files.problems("--json", options.json_file),
            *output_files.problems("--junit", options.junit_file),
            *self._unfit_settings(),
        ]
        policies: list[Json] = []
        suite: tuple[Case, ...] = ()
        try:
            if options.files:
                policies = files.read(options.files)
                problems += ["--only: chooses cases of the suite, leave it out with files"] if options.only else []
            else:
                suite = chosen(cases.load(), options.only)
        except UserError as error:
            problems += error.problems
        if problems:
            raise UserError(problems)
        return policies, suite

    def _unfit_settings(self) -> Iterator[str]:
        settings = self._loaded.cluster.settings
        if reason := no_enforcement(settings.cni, settings.network_policy):
            yield reason
        if not settings.probe_image:
            yield "probe_image: is empty, name an image that the nodes can pull (its contents are in agents/probe)"

    def _require_enforcing(self, api: Api) -> None:
        items = api.request("GET", "/apis/apps/v1/daemonsets")["items"]
        names = {str(item["metadata"]["name"]) for item in items}
        if any(name.startswith(FLANNEL) for name in names) and not any(name.startswith(ENFORCERS) for name in names):
            raise UserError("the cluster's CNI is plain flannel, which enforces no NetworkPolicy: nothing was applied")

    def _require_kept(self, api: Api, policies: Sequence[Json]) -> None:
        lines = list(Policies(api).try_out(policies))
        if lines:
            version = _version(api)
            raise UserError(_lost(line, version) for line in lines)

    # The run ---------------------------------------------------------------------------------------------------------

    def _with_api(self, api: Api, policies: list[Json], suite: tuple[Case, ...]) -> RunResult:
        self._require_enforcing(api)
        pods = ProbePods(api, self._loaded.cluster)
        pods.require_ours()
        self._require_kept(api, policies)
        try:
            layout = self._probe_pods(api, pods)
            return self._with_pods(api, pods, layout, policies, suite)
        finally:
            self._put_back(api, pods)

    def _probe_pods(self, api: Api, pods: ProbePods) -> Layout:
        """The probe pods: those of an earlier run, as they were made, or new ones."""
        if pods.are_there():
            with step("Taking over the probe pods of an earlier run"):
                Policies(api).clear()
                self._labels(api, pods).restore_all()
                layout = pods.wait()
        else:
            with step("Starting the probe pods"):
                pods.remove()
                pods.create()
                layout = pods.wait()
        return replace(layout, outside=self._access.outside(self._loaded))

    def _labels(self, api: Api, pods: ProbePods) -> Labels:
        return Labels(api, pods.of_kind("Pod"), pods.of_kind("Namespace"))

    def _with_pods(
        self, api: Api, pods: ProbePods, layout: Layout, policies: list[Json], suite: tuple[Case, ...]
    ) -> RunResult:
        asked = self._access.channels(self._loaded, layout.clients)
        try:
            attempts = plan.plan(layout)
            known = self._loaded.cluster.settings.network.known
            bench = Bench(api, asked, layout, self._labels(api, pods), attempts, known)
            with step(f"Opening {len(layout.clients)} channels to clients"):
                not_probed = self._greet(bench, layout, attempts, asked)
            trials, not_run = self._trials(api, layout, policies, suite)
            return self._try_all(bench, trials, not_run, not_probed)
        finally:
            asked.close()

    def _greet(self, bench: Bench, layout: Layout, attempts: Sequence[plan.Attempt], asked: Asked) -> tuple[str, ...]:
        """Open the channels, and find out what cannot be probed from them."""
        asked.open()
        answers = bench.hello()
        for client, answer in answers.items():
            if "problem" in answer:
                say(f"[red]{client}[/red]: its probes will not work: {escape(str(answer['problem']))}")
        refused = {client: str(answer["sctp"]) for client, answer in answers.items() if answer.get("sctp")}
        inside = {client: reason for client, reason in refused.items() if client != OUTSIDE}
        bench.leave_out(plan.without_sctp(attempts, inside))
        if off := bench.enforcement().off:
            say(f"[bold yellow]policies are not enforced on {', '.join(off)}[/bold yellow], says the pod network there")
        lines = [f"SCTP from and to {client}: {reason}" for client, reason in inside.items()]
        lines += [] if layout.outside else ["the outside client: this machine is a node of the cluster"]
        return tuple(lines)

    def _trials(
        self, api: Api, layout: Layout, policies: list[Json], suite: tuple[Case, ...]
    ) -> tuple[list[Trial], dict[str, str]]:
        """What to try, and of it what this cluster cannot: case -> why."""
        if not suite:
            names = ", ".join(path.name for path in self._options.files)
            return [Trial(names, "The policies of the files", policies=tuple(policies))], {}
        values = layout.addresses(self._loaded.cluster).values()
        trials = [
            Trial(case.name, case.shows, case.theme, tuple(case.policies_for(values)), case.changes) for case in suite
        ]
        version = _version(api)
        with step("Asking the API server whether it keeps all fields"):
            not_run = {trial.name: reason for trial in trials if (reason := self._not_here(api, trial, version))}
        return trials, not_run

    def _not_here(self, api: Api, trial: Trial, version: str) -> str:
        lines = list(Policies(api).try_out(trial.policies))
        if any(line.refused for line in lines):
            return ""  # applying it will say why
        dropped = names_of_dropped(line.text for line in lines)
        return f"not on this cluster: the API server ({version}) drops {dropped}" if lines else ""

    def _try_all(
        self, bench: Bench, trials: Sequence[Trial], not_run: Mapping[str, str], not_probed: tuple[str, ...]
    ) -> RunResult:
        total = 1 + len(trials)
        results = [bench.before()]
        # The grids of a run without policies are worth their space only where they are not all dots.
        self._show(results[0], total, with_grids=self._options.verbose)
        if results[0].differences:
            stopped = "clients do not reach pods even without policies; prove the network first: ./inv verify"
            return RunResult(tuple(results), 0.0, not_probed, stopped)
        for trial in trials:
            if trial.name in not_run:
                result = CaseResult(trial.name, trial.shows, trial.theme, not_run=not_run[trial.name])
            else:
                result = _tried(bench, trial)
            results.append(result)
            self._show(result, total, with_grids=self._options.verbose or bool(self._options.files))
        return RunResult(tuple(results), 0.0, not_probed)

    def _show(self, case: CaseResult, total: int, *, with_grids: bool) -> None:
        self._shown += 1
        _print(report.case_line(case, self._shown, total))
        for line in report.case_details(case, with_grids=with_grids):
            _print(line)
        if not case.not_run and (with_grids or case.differences):
            _print(f"  {grids.LEGEND}")

    # Afterwards ------------------------------------------------------------------------------------------------------

    def _put_back(self, api: Api, pods: ProbePods) -> None:
        """Leave nothing but, if asked, the probe pods. What this cannot do, the next run does."""
        try:
            if self._options.keep:
                with step("Removing the policies, keeping the probe pods"):
                    Policies(api).clear()
                    self._labels(api, pods).restore_all()
            else:
                with step("Removing the probe pods"):
                    pods.remove()
        except CommandError as error:
            raise CommandError(f"{error}; run the command again, it clears up first") from error


def _print(line: str) -> None:
    """A line as it is: names and reasons may look like markup."""
    console.print(line, markup=False, emoji=False)


def chosen(suite: tuple[Case, ...], only: str | None) -> tuple[Case, ...]:
    """Cases by a pattern of names. Raises UserError if there is none."""
    found = tuple(case for case in suite if only is None or fnmatch.fnmatchcase(case.name, only))
    if not found:
        raise UserError(f"--only {only}: no case has such a name, e.g. '{suite[0].name.partition('-')[0]}*'")
    return found


def outside_address(loaded: LoadedInventory) -> IPv4Address | None:
    """This machine's address towards the control plane host; None where it is one of the nodes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        # Nothing is sent: connecting only chooses the route.
        asking.connect((str(loaded.cluster.leader.address), 9))
        address = IPv4Address(asking.getsockname()[0])
    return None if address in {node.address for node in loaded.cluster.nodes} else address


def _tried(bench: Bench, trial: Trial) -> CaseResult:
    try:
        return bench.run(trial)
    except ApiError as error:
        if error.status != INVALID:
            raise
        return CaseResult(trial.name, trial.shows, trial.theme, problem=str(error))


def _version(api: Api) -> str:
    found = api.request("GET", "/version")
    return f"{found.get('major')}.{str(found.get('minor')).rstrip('+')}"


def _lost(loss: Loss, version: str) -> str:
    if loss.refused:
        return f"NetworkPolicy {loss.policy}: the API server ({version}) refuses it: {loss.text}"
    drops = f"the API server ({version}) drops {loss.text}, and it would mean something else; nothing was applied"
    return f"NetworkPolicy {loss.policy}: not on this cluster: {drops}"


@contextmanager
def _terminations_interrupt() -> Iterator[None]:
    """Being ended, or losing the terminal, is like Ctrl-C: the cluster is put back first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # What is ignored stays so: nohup has its reason.
    handled = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
