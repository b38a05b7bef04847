"""Debian's Chromium without a window, spoken to through pipes (Chrome DevTools Protocol, --remote-debugging-pipe)."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60
"""The longest wait for an answer: starting took 2 s on two idle cores."""
OPTIONS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-extensions", "--hide-scrollbars"),
)
"""Without a sandbox, which it refuses to make for root; it opens pages of these tests only."""

OVERLAPS = """
(() => {
  const shown = [...document.querySelectorAll("svg text")].map(text => [text, text.getBoundingClientRect()])
    .filter(([_, box]) => box.width > 0);
  const wrong = [];
  shown.forEach(([text, box], number) => shown.slice(0, number).forEach(([other, its]) => {
    const room = Math.min(box.right, its.right) - Math.max(box.left, its.left);
    const height = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
    if (room > 0.5 && height > 3) wrong.push(text.textContent + " / " + other.textContent);
  }));
  return wrong;
})()
"""
"""Texts of the picture that overlap; lines may touch by a font's own gaps."""
WIDER = """
[...document.querySelectorAll("svg text")].filter(text => text.getClientRects().length
  && text.getComputedTextLength() > 7.31 * (text.firstChild?.length ?? 0) * (text.matches(".name") ? 1.17 : 1) + 0.5)
  .map(text => text.textContent)
"""
"""Texts that are wider than the picture was laid out for."""
SPILLS = """
[...document.querySelectorAll("body *")].filter(item => !item.closest(".scroll") && item.getClientRects().length
  && item.getBoundingClientRect().right > innerWidth + 0.5).map(item => item.outerHTML.slice(0, 99))
"""
"""Elements outside of the window that are in no box that scrolls."""


class Browser:
    """One tab. What the page complains of, and what it asks for, is collected until :meth:`open` is called again."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest = write, read, b""
        self._number, self._session = 0, ""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"Chromium did not answer within {SECONDS} s"
            more = os.read(self._read, 1 << 16)
            assert more, "Chromium ended"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        match message.get("method"):
            case "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(message["params"]))
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
        return message

    def open(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Show a page in a window of this width in px, and wait until it is there."""
        self.complaints, self.requests = [], []
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + SECONDS
        while self.value("document.readyState + location.href") != f"complete{page.as_uri()}":
            assert time.monotonic() < deadline, "the page did not load"

    def value(self, expression: str) -> Any:
        """The value of an expression in the page, which its policy for contents does not keep the tester from."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def faults(self) -> list[str]:
        """What cannot be read, what the browser complains of, and what the page asked for beside itself."""
        overlapping, wider, spills = (self.value(text) for text in (OVERLAPS, WIDER, SPILLS))
        found = [f"overlap: {line}" for line in overlapping] + [f"wide: {line}" for line in wider]
        found += [f"outside: {line}" for line in spills] + self.complaints
        if self.value("document.documentElement.scrollWidth > innerWidth"):
            found.append("the page is wider than the window")
        return found + self.requests[1:]

    def screenshot(self, file: Path, *, height: int | None = None) -> None:
        """The whole page, or its first ``height`` px, as PNG."""
        width, whole = self.value("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": height or whole, "scale": 1}
        shot = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def started(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile in ``folder``. Skips where there is none; in CI it has to be there."""
    program = shutil.which("chromium")
    if program is None:
        assert os.environ.get("CI") != "true", "there is no chromium"
        pytest.skip("there is no chromium; apt-get install --no-install-recommends chromium")
    (their_read, write), (read, their_write) = os.pipe(), os.pipe()
    # It reads commands at 3 and writes answers at 4.
    words = ["bash", "-c", f'exec "$0" "$@" 3<&{their_read} 4>&{their_write}', program, *OPTIONS]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [*words, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=(their_read, their_write),
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder)},
        )
    os.close(their_read)
    os.close(their_write)
    try:
        yield Browser(write, read)
    finally:
        os.close(write)
        os.close(read)
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(10)
