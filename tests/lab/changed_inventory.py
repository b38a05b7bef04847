"""The lab's inventory with settings changed, as a user changes them: a file of its own beside its group_data."""

import shutil
from pathlib import Path

from lab.paths import REPOSITORY

HEAD = f"import sys\n\nsys.path.insert(0, {str(REPOSITORY)!r})\n"


def changed(folder: Path, **settings: object) -> Path:
    """Write the lab's inventory into a folder, with these settings in its group_data/lab.py."""
    inventory = folder / "inventory"
    shutil.copytree(REPOSITORY / "inventory", inventory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__*"))
    for file in (inventory / "lab.py", inventory / "group_data" / "lab.py"):
        file.write_text(HEAD + (REPOSITORY / "inventory" / file.relative_to(inventory)).read_text())
    with (inventory / "group_data" / "lab.py").open("a") as data:
        data.writelines(f"{name} = {value!r}\n" for name, value in settings.items())
    return inventory / "lab.py"
