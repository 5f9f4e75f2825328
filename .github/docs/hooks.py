"""MkDocs' hooks: pages that are made from the code, and those that stand elsewhere in the repository."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))

import reference

ROOT = Path(__file__).resolve().parents[2]
# Read where they are kept; a page each.
ELSEWHERE = {
    "howto/deploy.md": "docker/README.md",
    "howto/operate.md": "docker/OPERATIONS.md",
    "howto/monitoring-files.md": "monitoring/README.md",
    "project/changes.md": ".github/CHANGELOG.md",
    "project/contributing.md": ".github/CONTRIBUTING.md",
    "project/security.md": ".github/SECURITY.md",
}
_OUTSIDE_WORKER = re.compile(r'<script src="https://[^"]*iframe-worker[^"]*"></script>')
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not written by hand."""
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=moved(page, ROOT / source)))
    for page, make in reference.PAGES.items():
        files.append(File.generated(config, f"reference/{page}.md", content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put tables that the code knows where a page asks for them."""
    for name, make in reference.TABLES.items():
        markdown = markdown.replace("{{" + name + "}}", make())
    return markdown


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Take our own worker for pages without a server, in place of one from a server elsewhere."""
    own = posixpath.relpath("worker.js", posixpath.dirname(page.url) or ".")
    return _OUTSIDE_WORKER.sub(f'<script src="{own}"></script>', output)


def on_post_template(output: str, template_name: str, config: Any) -> str:
    """Do the same for the page that is shown where there is none."""
    return _OUTSIDE_WORKER.sub("", output)


def moved(page: str, source: Path) -> str:
    """Return a file of the repository as a page: links lead to pages, else they name the file."""
    pages = {(ROOT / kept).resolve(): name for name, kept in ELSEWHERE.items()}

    def link(match: re.Match[str]) -> str:
        target = (source.parent / match[2]).resolve()
        if target in pages:
            where = posixpath.relpath(pages[target], posixpath.dirname(page))
            return f"[{match[1]}]({where}{match[3] or ''})"
        shown = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else match[2]
        return match[1] if match[1].startswith("`") else f"{match[1]} (`{shown}`)"

    return _LINK.sub(link, source.read_text(encoding="utf-8"))
