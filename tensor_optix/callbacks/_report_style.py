"""How does a report look? Light and dark, on a phone and on paper."""

from __future__ import annotations

from tensor_optix.callbacks._report_html import safe
from tensor_optix.callbacks._report_theme import COLOURS, DARK_COLOURS

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A page that loads nothing and runs nothing, whatever it might hold."""


def head(title: str) -> str:
    """The page's ``<head>``: its style, with the palettes of the figures as variables."""
    light = "".join(f"--curve-{name}:{colour};" for name, colour in COLOURS.items())
    dark = "".join(f"--curve-{name}:{colour};" for name, colour in DARK_COLOURS.items())
    style = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}{_CSS}</style>"
    meta = ('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">')  # fmt: skip
    return f"<head>{meta}{style}<title>{safe(title)}</title></head>"


_CSS = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1f2328; --muted: #59636e; --line: #d8dee4; --card: #f6f8fa;
        --good: #1a7f37; --open: #9a6700 }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --ink: #e6edf3; --muted: #9198a1; --line: #30363d; --card: #161b22; --good: #3fb950;
          --open: #d29922 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 56rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem }
.verdict { font-size: 1.1rem; margin: .4rem 0 1rem; overflow-wrap: anywhere }
.verdict.good strong { color: var(--good) }
.verdict.open strong { color: var(--open) }
.muted, small, summary, figcaption { color: var(--muted) }
small { display: block; font-size: .8rem; overflow-wrap: anywhere }
summary { font-size: .8rem; cursor: pointer }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin: 0 }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem }
dt { font-size: .8rem; color: var(--muted) }
dd { margin: 0 }
dd b { font-size: 1.35rem; font-variant-numeric: tabular-nums }
figure { margin: 0 }
figure svg { width: 100%; height: auto; display: block }
.films { display: flex; flex-wrap: wrap; gap: 1rem }
.films img { max-width: 100%; border: 1px solid var(--line); border-radius: .3rem; display: block }
figcaption { font-size: .85rem }
.narrow { display: none }
.scroll { overflow-x: auto; max-height: 32rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th { text-align: left; color: var(--muted); font-weight: 600; position: sticky; top: 0; background: var(--page) }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.num { font-variant-numeric: tabular-nums; white-space: nowrap }
.log label { display: inline-block; white-space: nowrap; font-size: .85rem; margin: 0 .9rem .4rem 0 }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem;
      white-space: pre-wrap; overflow-wrap: anywhere }
@media (max-width: 34rem) { .wide { display: none } .narrow { display: block }
                            td:last-child { overflow-wrap: anywhere } }
@media print { .scroll { max-height: none } }
"""
