"""How the page of a comparison looks, and the little that moves on it: written out, for it opens without a network."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light; --line: #d9dde3; --soft: #f5f7f9; --text: #1a1a1a; --grey: #5b6470; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 76rem; background: #fff; color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; line-height: 1.25; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; max-width: 64rem; }
.grey { color: var(--grey); font-size: .9rem; }
.verdict { border-left: 4px solid var(--accent); background: var(--soft); padding: .7rem 1rem; margin: 1rem 0; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .65rem; text-align: right; vertical-align: top; white-space: nowrap; }
th { background: var(--soft); border-bottom: 1px solid var(--line); font-weight: 600; }
tr + tr td { border-top: 1px solid var(--line); }
.text { text-align: left; }
td.label { white-space: normal; min-width: 16rem; overflow-wrap: break-word; }
td:first-child, th:first-child { position: sticky; left: 0; background: #fff; }
th:first-child { background: var(--soft); }
tr.first td { font-weight: 600; }
tr.repeat td { color: var(--grey); font-style: italic; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th button::after { content: "\\2195"; color: #aab2bd; padding-left: .3em; font-weight: 400; }
th[aria-sort="ascending"] button::after { content: "\\2191"; color: var(--accent); }
th[aria-sort="descending"] button::after { content: "\\2193"; color: var(--accent); }
svg.swatch { width: 2rem; height: .7rem; margin-right: .4rem; vertical-align: baseline; }
figure { margin: 0 0 1rem; }
img { display: block; width: 100%; max-width: 60rem; height: auto; }
figcaption { color: var(--grey); font-size: .9rem; max-width: 60rem; }
code, pre { font: .85rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; margin: .4rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; margin: .4rem 0; }
li { margin: .25rem 0; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; margin-top: .8rem; }
@media (max-width: 600px) { body { font-size: 15px; padding: 1rem .75rem 2rem; } h1 { font-size: 1.3rem; }
  td.label { min-width: 9rem; overflow-wrap: anywhere; } svg.swatch { display: block; } .picture { overflow-x: auto; }
  img { width: 40rem; max-width: none; } }
@media print { .wide { overflow: visible; } th button::after { content: ""; } body { max-width: none; } }
"""

# A cell's `data-value` is what it is sorted by; one without stays at the end, whichever way it goes.
SCRIPT = """
const parts = text => text.split(/([0-9]+(?:[.][0-9]+)?(?:e[-+]?[0-9]+)?)/i);
const natural = (a, b) => {
  const [x, y] = [parts(a), parts(b)];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = i % 2 ? Number(x[i]) - Number(y[i]) : x[i].localeCompare(y[i], "en");
    if (difference) return difference;
  }
  return x.length - y.length;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => row.cells[column].dataset.value ?? "";
      const numbers = head.dataset.kind === "number";
      const compare = (a, b) => numbers ? Number(a) - Number(b) : natural(a, b);
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return down ? compare(y, x) : compare(x, y);
      });
      body.append(...rows);
    });
  });
}
"""
