"""``livesam doctor``: what is installed, what would be used, and why not the rest."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
) -> None:
    """Tell what is installed here, what would be used, and why."""
    from livesam.app.diagnosis import diagnose

    found = diagnose()
    if as_json:
        import json

        typer.echo(json.dumps(found.to_json(), indent=1, allow_nan=False))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"livesam {found.version} on {found.machine}")
    for heading in ("runtime", "usable", "why"):
        table.add_column(heading, overflow="fold")
    for row in found.runtimes:
        table.add_row(row.name, "[green]yes[/green]" if row.available else "[red]no[/red]", row.reason)
    console = Console()
    console.print(table)
    for kind, choice in found.selected.items():
        console.print(f"{kind}: [bold]{choice}[/bold] ({found.details[kind]})", highlight=False)
    for one in found.prepared:
        console.print(f"prepared: {one.model} at {one.size} px, {one.encoder} and {one.decoder}", highlight=False)
    if not found.prepared:
        console.print("prepared: no engine yet; `livesam prepare MODEL` builds one ahead of time", highlight=False)
    for warning in found.warnings:
        console.print(f"[yellow]warning:[/yellow] {warning}", highlight=False)
