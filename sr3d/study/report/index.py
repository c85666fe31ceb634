"""`index.md`: what lies in a report's folder, with links, for readers of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sr3d.runs.files import write_text
from sr3d.study.report.figures import OWN, viewers_in
from sr3d.study.report.paper import DATASETS, Paper
from sr3d.study.report.render import escape_markdown

INDEX = "index.md"
TABLE_FORMATS, FIGURE_FORMATS = ("md", "csv", "tex"), ("svg", "png")


def write_index(out: Path, paper: Paper) -> Path:
    """Write the lists of all tables, and of all figures with the viewers of their scenes."""
    tables = {name: table.title for name, table in paper.tables.items()}
    figures = {name: figure.title for name, figure in paper.figures.items()} | OWN
    lines = ["# Tables", "", "| table | ours on | files |", "| --- | --- | --- |"]
    for title, label, files in _there(out, tables, TABLE_FORMATS):
        lines.append(f"| {title} | {label} | {_links(files)} |")
    drawn = list(_there(out, figures, FIGURE_FORMATS))
    if drawn:
        lines += ["", "# Figures", ""]
        lines += ["| figure | ours on | files | open in 3D |", "| --- | --- | --- | --- |"]
    for title, label, files in drawn:
        stem = Path(files[0]).stem
        viewers = {path.stem.removeprefix(f"{stem}."): path.name for path in viewers_in(out, stem)}
        scenes = ", ".join(f"[{escape_markdown(x)}]({name})" for x, name in viewers.items())
        lines.append(f"| {title} | {label} | {_links(files)} | {scenes} |")
    write_text(out / INDEX, "\n".join(lines) + "\n")
    return out / INDEX


def _there(
    out: Path, titles: dict[str, str], formats: Sequence[str]
) -> Iterator[tuple[str, str, list[str]]]:
    """Title, data and files of each that lies in the folder."""
    for name, title in titles.items():
        for dataset, printed in DATASETS.items():
            files = [f"{name}_{dataset}.{ending}" for ending in formats]
            if (out / files[0]).is_file():
                yield escape_markdown(title), printed.label, files


def _links(files: Sequence[str]) -> str:
    return ", ".join(f"[{name}]({name})" for name in files)
