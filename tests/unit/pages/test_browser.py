"""The page in a real browser, light and dark, on a desk and on a telephone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeproof.pages import difference, page
from kubeproof.pages.way import Way
from tests.unit.pages import samples
from tests.unit.pages.browser import Browser, started

NAMES = ("whole", "broken", "many", "way")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    earlier = difference.read(page.render(samples.whole()), "page")
    made = {name: folder / f"{name}.html" for name in NAMES}
    for name, file in made.items():
        way = Way.of(samples.prediction(answered=False)) if name == "way" else None
        report = getattr(samples, name if way is None else "whole")()
        file.write_text(page.render(report, earlier if name == "broken" else None, way))
    return made


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_read(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool, tmp_path: Path
) -> None:
    browser.open(pages[name], width, dark=dark)
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
    assert (
        browser.value("[...document.querySelectorAll('svg text')].filter(x => x.getClientRects().length).length") > 40
    )
    assert browser.faults() == []
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")


def test_it_forbids_scripts_and_other_styles(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "changed.html"
    added = "<script>document.title = 'ran'</script><style>body { color: red }</style><img src='http://127.0.0.1:9/'>"
    file.write_text(pages["whole"].read_text().replace("</main>", f"{added}</main>"))
    browser.open(file, 1280)
    assert browser.value("document.title") != "ran"
    assert browser.value("getComputedStyle(document.body).color") == "rgb(27, 33, 39)"
    assert len([line for line in browser.complaints if "Content Security Policy" in line]) == 3


def test_it_is_the_same_without_scripts(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["broken"], 1280)
    height = browser.value("document.documentElement.scrollHeight")
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(pages["broken"], 1280)
    assert browser.value("document.documentElement.scrollHeight") == height
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)
