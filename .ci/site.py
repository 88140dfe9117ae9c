"""What mkdocs adds to docs/: the README as the first page, and what pages name outside docs/, so that no link breaks.

On a code host such links lead to the files themselves. The site knows no host and carries them: another README as a
page, any other file as it is, below source/.
"""

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)(docs/)?")
OUTSIDE = re.compile(r"\]\((\.\./[^)#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds both, under the paths by which pages at the top of docs/ name them: there mkdocs looks for a link's end."""
    readme = (Path(config.docs_dir).parent / "README.md").read_text(encoding="utf-8")
    seen_from_docs = LINK.sub(lambda link: "" if link[1] else "../", readme)
    files.append(File.generated(config, "index.md", content=seen_from_docs))
    pages = [file for file in files.documentation_pages() if "/" not in file.src_uri]
    for path in dict.fromkeys(path for page in pages for path in OUTSIDE.findall(page.content_string)):
        if (Path(config.docs_dir) / path).is_file():  # of what is not there, mkdocs says which page names it
            files.append(File(path, config.docs_dir, config.site_dir, use_directory_urls=False, dest_uri=place(path),
                              inclusion=InclusionLevel.INCLUDED))  # fmt: skip
    return files


def place(path: str) -> str:
    """Where the site has a file from outside docs/."""
    inside = PurePosixPath(path.removeprefix("../"))
    return f"{inside.parent}.html" if inside.name == "README.md" else f"source/{inside}"
