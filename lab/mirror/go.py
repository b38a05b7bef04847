"""Debian's Go, whatever other Go and settings of Go this machine's users have."""

from pathlib import Path

PROGRAM = "/usr/bin/go"
"""Of Debian's package golang-go; one of the same name may come first on PATH, often too new for GOPATH builds."""


def environment(build_cache: Path) -> dict[str, str]:
    """Variables for a build of static programs without modules and without network."""
    return {
        # What users set by `go env -w`.
        "GOENV": "off",
        # Empty counts as unset, so that nothing of the caller's environment gets through.
        **dict.fromkeys(("GOROOT", "GOOS", "GOARCH", "GOEXPERIMENT", "GOFLAGS"), ""),
        "GO111MODULE": "off",
        "GOPROXY": "off",
        "GOCACHE": str(build_cache),
        "CGO_ENABLED": "0",
    }
