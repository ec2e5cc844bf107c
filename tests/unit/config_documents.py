"""The cloud-configs that the pages show."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^( *)```yaml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def cloud_configs() -> list[tuple[str, str]]:
    """Each with the name of its page, and without the page's own indentation."""
    found = []
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        for lead, fenced in _FENCE.findall(page.read_text()):
            text = re.sub(rf"^{lead}", "", fenced, flags=re.MULTILINE)
            if text.startswith("#cloud-config"):
                found.append((page.name, text))
    return found
