"""How the report's page looks (light and dark, wide and narrow) and how it words its numbers."""

from collections.abc import Iterable

STYLE = """
:root { color-scheme: light dark; --page: #f7f7f4; --card: #fff; --ink: #1b1b19; --soft: #5d5c57;
  --line: #deddd6; --one: #2a6fc9; --two: #c4501b; --three: #15805a; --bar: #cfe0f6;
  --four: #7a4fc0; --five: #98780c; --six: #b13a78;
  --good: #126b4b; --bad: #a8350c; }
@media (prefers-color-scheme: dark) { :root { --page: #161615; --card: #21211f; --ink: #f2f1ec;
  --soft: #b4b2a9; --line: #3b3a36; --one: #6ca7f2; --two: #f0895a; --three: #3fc392;
  --four: #b595f0; --five: #d9b83c; --six: #ee86bd;
  --bar: #27456c; --good: #55cf9f; --bad: #f39a72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4em; }
h2 { font-size: 1.35rem; margin: 2.2em 0 .3em; }
h3 { font-size: 1rem; margin: 1.4em 0 .4em; }
p { max-width: 46em; margin: .4em 0 .8em; }
.soft, figcaption, .note { color: var(--soft); }
figcaption, .note { font-size: .85rem; line-height: 1.4; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 20px 0; padding: 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 14px; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.6rem; font-weight: 600; line-height: 1.25; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; margin: 14px 0; }
.card > h3 { margin: 0 0 .6em; font-weight: 600; }
.row { display: grid; gap: 12px; }
.row figure { margin: 0; min-width: 0; }
.row img { width: 100%; aspect-ratio: 1; display: block; border-radius: 6px; }
.row img.small { image-rendering: pixelated; }
figcaption b { color: var(--ink); display: block; }
.strip { gap: 4px; }
.found { color: var(--good); } .missed { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; background: var(--card); width: 100%; font-size: .95rem; }
th, td { border-bottom: 1px solid var(--line); padding: 6px 10px; text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 500; }
tr.total th { font-weight: 700; } tbody th { font-weight: 400; }
td.bar { min-width: 110px; background: linear-gradient(to right, var(--bar) var(--share),
  transparent var(--share)) no-repeat 0 50% / 94% 70%; }
table.details td { text-align: left; white-space: normal; }
.charts { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
.charts figure { margin: 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 12px 14px; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 12px; }
svg .axis { stroke: var(--line); } svg path { fill: none; stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: .85rem; margin: 0; padding: 0;
  list-style: none; }
.legend i { display: inline-block; width: 22px; border-top: 3px solid; margin-right: 6px;
  vertical-align: middle; }
.legend .c1 i { border-top-style: dashed; } .legend .c2 i { border-top-style: dotted; }
.legend span { color: var(--ink); }
.c0 { stroke: var(--one); color: var(--one); } .c1 { stroke: var(--two); color: var(--two); }
.c2 { stroke: var(--three); color: var(--three); } .c1path { stroke-dasharray: 7 3; }
.c2path { stroke-dasharray: 2 3; }
.c3 { stroke: var(--four); color: var(--four); } .c4 { stroke: var(--five); color: var(--five); }
.c5 { stroke: var(--six); color: var(--six); } .c3path { stroke-dasharray: 9 2 2 2; }
.c4path { stroke-dasharray: 12 4; } .c5path { stroke-dasharray: 4 2 1 2; }
svg circle { fill: var(--card); stroke-width: 2; }
code { font-size: .9em; overflow-wrap: anywhere; }
@media (max-width: 640px) { .row.four { grid-template-columns: 1fr 1fr !important; }
  .row.strip { grid-template-columns: repeat(4, 1fr) !important; } }
"""


def words(name: str) -> str:
    return name.replace("_", " ")


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def listed(words: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    *others, last = ["", *words]
    return " and ".join(filter(None, (", ".join(filter(None, others)), last)))
