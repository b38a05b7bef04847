"""Files of YAML and JSON taken apart into documents."""

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

from kubeproof.state.kubernetes_yaml import Document, Report, of_text, one_line


def of_files(paths: Sequence[Path], report: Report) -> Iterator[Document]:
    """The documents of all files in order, without empty ones; what cannot be read goes into the report."""
    for path in paths:
        text = _text(path, report)
        if text is not None:
            yield from of_text(text, one_line(str(path)), report)


def _text(path: Path, report: Report) -> str | None:
    try:
        content = path.read_bytes()
        # As PowerShell's > writes it, and kubectl reads it.
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        report.problems.append(f"{one_line(str(path))}: there is no such file; correct its name")
    except UnicodeDecodeError:
        report.problems.append(f"{one_line(str(path))}: is no text in UTF-8; give a YAML file")
    except OSError as error:
        report.problems.append(f"{one_line(str(path))}: cannot be read ({error.strerror}); give a YAML file")
    except ValueError as error:
        report.problems.append(f"{one_line(str(path))}: cannot be the name of a file ({error}); correct it")
    return None
