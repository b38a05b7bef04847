"""Kubernetes' programs, built from Debian's source package with Debian's Go and nothing from the network."""

import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from kubeproof.terminal.console import say, step
from kubeproof.terminal.errors import CommandError
from lab import paths, shell
from lab.mirror import cache, go, source
from lab.mirror.source import Source, Upstream

REFLECT2_PACKAGE = "golang-github-modern-go-reflect2-dev"

COMMANDS = (
    *("kubeadm", "kubelet", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"),
)
TAGS = "providerless"
"""Leaves the cloud providers out: half the size of kube-apiserver and kubelet, half the time to build."""

IMPORT_PATH = "k8s.io/kubernetes"
REFLECT2 = "github.com/modern-go/reflect2"
REFLECT2_SOURCE = Path("/usr/share/gocode/src") / REFLECT2
"""Debian's reflect2 1.0.2. The 1.0.1 in the vendor tree makes programs panic when built with Go 1.18 or newer."""


@dataclass(frozen=True)
class Replacement:
    file: str
    old: str
    new: str


REPLACEMENTS = (
    # Go 1.15, which Kubernetes 1.20 was built with, never finds two reflect.Values equal. Debian's 1.19 does for a zero
    # value of one or two words, since both point to the runtime's own zero: an empty string was taken for null, and
    # every custom resource with one was refused.
    Replacement(
        "vendor/k8s.io/kube-openapi/pkg/validation/validate/type.go",
        "if data == nil || reflect.DeepEqual(reflect.Zero(reflect.TypeOf(data)), reflect.ValueOf(data)) {",
        "if data == nil {",
    ),
)
"""What of the source tree a newer Go than its own makes wrong.

The programs' other uses of what Go has changed since 1.15 were looked through. What differs is stricter input, and is
left so: addresses with leading zeros (net.ParseIP, Go 1.17), certificates signed with SHA-1 (1.18), and those of
webhooks that have a common name only (1.17) are refused.
"""

OPENAPI_GENERATOR = "vendor/k8s.io/kube-openapi/cmd/openapi-gen"
OPENAPI_PACKAGE = "pkg/generated/openapi"
OPENAPI_MARK = "+k8s:openapi-gen="
OPENAPI_ROOTS = ("vendor/k8s.io", "staging/src/k8s.io", "pkg", "cmd", "plugin")
OPENAPI_EXCLUDED = (
    "k8s.io/code-generator",
    "k8s.io/sample-apiserver",
    "kube-openapi/test",
    "kube-openapi/cmd",
    "kube-openapi/pkg",
)
VERSION_PACKAGES = ("client-go/pkg/version", "component-base/version")

COMPILER_FLAGS = "-dwarf=false"
"""No debugging data: nobody attaches a debugger to the lab, and it costs time and space. Tracebacks do not need it."""
GARBAGE_COLLECTION_PERCENT = "400"
"""GOGC of the compiler: it is short-lived, so collecting garbage less often trades some memory for time."""
_RECIPE = 1
_FACTS = "build.json"


@dataclass(frozen=True)
class Build:
    """Built programs in the cache, with the versions they were made from.

    ``version`` is Debian's version of the source package, ``number`` upstream's without v, ``key`` the content's key.
    """

    folder: Path
    key: str
    version: str
    number: str

    def binary(self, command: str) -> Path:
        return self.folder / "bin" / command

    @property
    def copyright(self) -> Path:
        return self.folder / "copyright"


def ensure() -> tuple[Build, int]:
    """Return the built programs and how many things were built for it (0 or 1)."""
    fetched = source.fetch()
    name = build_key(fetched)
    folder = cache.entry("kubernetes", name)
    built = 0
    if not folder.is_dir():
        say(f"Kubernetes is built from Debian's source {fetched.version}")
        _build(fetched, folder)
        cache.prune("kubernetes", keep=name)
        built = 1
    facts = json.loads((folder / _FACTS).read_text())
    return Build(folder, name, facts["version"], facts["upstream"]["version"].removeprefix("v")), built


def build_key(fetched: Source) -> str:
    """Key over the source, the toolchain and every constant of the recipe."""
    recipe = (_RECIPE, COMMANDS, TAGS, COMPILER_FLAGS, OPENAPI_ROOTS, OPENAPI_EXCLUDED, VERSION_PACKAGES)
    replaced = [astuple(replacement) for replacement in REPLACEMENTS]
    return cache.key(fetched.version, fetched.dsc.read_text(), _toolchain(), recipe, replaced)


def linker_flags(upstream: Upstream) -> str:
    """Flags that strip the programs and tell them their version, as upstream's hack/lib/version.sh does."""
    major, minor, _ = upstream.number.split(".", 2)
    values = {
        "gitVersion": upstream.version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": upstream.tree_state,
        "gitCommit": upstream.commit,
    }
    sets = [
        f"-X {IMPORT_PATH}/vendor/k8s.io/{package}.{key}={text}"
        for package in VERSION_PACKAGES
        for key, text in values.items()
    ]
    return " ".join(["-s", "-w", *sets])


def openapi_packages(tree: Path) -> list[str]:
    """Import paths of all packages marked for OpenAPI, as upstream's build/root/Makefile.generated_files finds them."""
    marked = {path.parent.relative_to(tree).as_posix() for root in OPENAPI_ROOTS for path in _marked_files(tree / root)}
    folders = {folder.replace("staging/src/", "vendor/", 1) for folder in marked}
    kept = sorted(folder for folder in folders if not any(part in folder for part in OPENAPI_EXCLUDED))
    return [f"{IMPORT_PATH}/{folder}" for folder in kept]


def replace_texts(tree: Path, replacements: Iterable[Replacement] = REPLACEMENTS) -> None:
    """Make the replacements in a source tree. Raises CommandError where a text is not found exactly once."""
    for replacement in replacements:
        file = tree / replacement.file
        text = file.read_text() if file.is_file() else ""
        if text.count(replacement.old) != 1:
            raise CommandError(
                f"{replacement.file}: does not hold once what the lab replaces in it: {replacement.old}; "
                "look whether the source needs that still, and change REPLACEMENTS in lab/mirror/kubernetes.py"
            )
        file.write_text(text.replace(replacement.old, replacement.new))


def _build(fetched: Source, folder: Path) -> None:
    # The Go cache of an interrupted build is kept for the next one, which then goes on where it stopped.
    work = paths.CACHE / "build" / "kubernetes"
    gopath = work / "gopath"
    tree = gopath / "src" / IMPORT_PATH
    cache.remove(gopath)
    upstream = source.unpack(fetched, tree)
    vendored = tree / "vendor" / REFLECT2
    shutil.rmtree(vendored)
    shutil.copytree(REFLECT2_SOURCE, vendored)
    replace_texts(tree)
    with step("Kubernetes: generated OpenAPI definitions"):
        _generate_openapi(tree, work)
    with step(f"Kubernetes: {', '.join(COMMANDS)}"):
        commands = [f"./cmd/{command}" for command in COMMANDS]
        flags = ["-tags", TAGS, "-trimpath", f"-gcflags=all={COMPILER_FLAGS}", "-ldflags", linker_flags(upstream)]
        shell.run(
            [go.PROGRAM, "install", *flags, *commands], cwd=tree, env=_go_environment(work), timeout=shell.BUILD_SECONDS
        )
    with cache.creating(folder) as partial:
        _collect(gopath, tree, partial, fetched, upstream)
    cache.remove(work)


def _collect(gopath: Path, tree: Path, folder: Path, fetched: Source, upstream: Upstream) -> None:
    (folder / "bin").mkdir(parents=True)
    for command in COMMANDS:
        shutil.move(gopath / "bin" / command, folder / "bin" / command)
    shutil.copy(tree / "debian" / "copyright", folder / "copyright")
    facts = {"version": fetched.version, "upstream": asdict(upstream)}
    (folder / _FACTS).write_text(json.dumps(facts, indent=2) + "\n")


def _go_environment(work: Path) -> dict[str, str]:
    return {**go.environment(work / "gocache"), "GOPATH": str(work / "gopath"), "GOGC": GARBAGE_COLLECTION_PERCENT}


def _generate_openapi(tree: Path, work: Path) -> None:
    """The one generated file that Debian's source package lacks."""
    environment = _go_environment(work)
    flags = ["-trimpath", f"-gcflags=all={COMPILER_FLAGS}"]
    shell.run(
        [go.PROGRAM, "install", *flags, f"./{OPENAPI_GENERATOR}"],
        cwd=tree,
        env=environment,
        timeout=shell.BUILD_SECONDS,
    )
    # The generator looks for the standard library by itself, and -trimpath took its place out of the program.
    goroot = shell.run([go.PROGRAM, "env", "GOROOT"], env=environment).strip()
    arguments = {
        "--input-dirs": ",".join(openapi_packages(tree)),
        "--output-package": f"{IMPORT_PATH}/{OPENAPI_PACKAGE}",
        "--output-file-base": "zz_generated.openapi",
        "--go-header-file": "vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
        "--output-base": str(work / "gopath" / "src"),
        "--report-filename": str(work / "violations.report"),
    }
    words = [word for pair in arguments.items() for word in pair]
    generator = work / "gopath" / "bin" / "openapi-gen"
    shell.run([generator, *words], cwd=tree, env={**environment, "GOROOT": goroot, "PWD": str(tree)})


def _marked_files(root: Path) -> Iterable[Path]:
    # os.walk does not follow symbolic links: vendor/k8s.io has one for each folder of staging.
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            if name.endswith(".go") and path.is_file() and OPENAPI_MARK.encode() in path.read_bytes():
                yield path


def _toolchain() -> tuple[str, str]:
    """Version of Go and of Debian's reflect2 on this machine."""
    compiler = re.sub(r"^go version ", "", shell.run([go.PROGRAM, "version"]).strip())
    return compiler, shell.run(["dpkg-query", "--show", "--showformat=${Version}", REFLECT2_PACKAGE])
