// Draws rules as railroad diagrams: one page that needs nothing from elsewhere.

const char = 7.4; // width of a character of the diagrams' font
const height = 26;
const gap = 14;
const curve = 8;

const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/**
 * A drawing: `width`, how far it reaches `up` and `down` from its line, and `draw(x, y)`, the SVG of it with its line
 * entering at (x, y) and leaving at (x + width, y).
 */
function box(text, kind) {
  const width = Math.ceil(text.length * char) + 20;
  return {
    width,
    up: height / 2,
    down: height / 2,
    draw: (x, y) => {
      const shape = `<rect class="${kind}" x="${x}" y="${y - height / 2}" width="${width}" height="${height}" rx="${kind === "rule" ? 3 : height / 2}"/><text x="${x + width / 2}" y="${y + 4.5}">${escape(text)}</text>`;
      return kind === "rule" ? `<a href="#${text}">${shape}</a>` : shape;
    },
  };
}

const line = (x1, y, x2) => `<path d="M${x1} ${y}H${x2}"/>`;

function row(parts) {
  if (parts.length === 0) return { width: 24, up: 0, down: 0, draw: (x, y) => line(x, y, x + 24) };
  return {
    width: parts.reduce((sum, p) => sum + p.width, gap * (parts.length - 1)),
    up: Math.max(...parts.map((p) => p.up)),
    down: Math.max(...parts.map((p) => p.down)),
    draw: (x, y) => {
      let out = "";
      parts.forEach((part, i) => {
        if (i > 0) {
          out += line(x, y, x + gap);
          x += gap;
        }
        out += part.draw(x, y);
        x += part.width;
      });
      return out;
    },
  };
}

/** Several ways, the first on the line. */
function choice(parts) {
  if (parts.length === 1) return parts[0];
  const inner = Math.max(...parts.map((p) => p.width));
  const side = 2 * curve + 4;
  const offsets = [0];
  for (let i = 1; i < parts.length; i++) offsets.push(offsets[i - 1] + parts[i - 1].down + 8 + parts[i].up);
  const last = parts[parts.length - 1];
  return {
    width: inner + 2 * side,
    up: parts[0].up,
    down: offsets[offsets.length - 1] + last.down,
    draw: (x, y) =>
      parts
        .map((part, i) => {
          const at = y + offsets[i];
          const end = x + side + inner;
          const right = x + inner + 2 * side;
          const before = i === 0 ? line(x, y, x + side) : `<path d="M${x} ${y}q${curve} 0 ${curve} ${curve}V${at - curve}q0 ${curve} ${curve} ${curve}H${x + side}"/>`;
          const after = i === 0 ? line(x + side + part.width, y, right) : `<path d="M${x + side + part.width} ${at}H${end + 4}q${curve} 0 ${curve} -${curve}V${y + curve}q0 -${curve} ${curve} -${curve}"/>`;
          return before + part.draw(x + side, at) + after;
        })
        .join(""),
  };
}

/** Once or not at all: the way around lies above. */
function optional(part) {
  const side = 2 * curve;
  const rise = part.up + 10;
  return {
    width: part.width + 2 * side,
    up: rise,
    down: part.down,
    draw: (x, y) =>
      `${line(x, y, x + side)}${part.draw(x + side, y)}${line(x + side + part.width, y, x + part.width + 2 * side)}` +
      `<path d="M${x} ${y}q${curve} 0 ${curve} -${curve}V${y - rise + curve}q0 -${curve} ${curve} -${curve}H${x + part.width + side}q${curve} 0 ${curve} ${curve}V${y - curve}q0 ${curve} ${curve} ${curve}"/>`,
  };
}

/** Any number of times: the way back lies below, with an arrow. */
function repeated(part) {
  const side = 2 * curve;
  const drop = part.down + 12;
  const once = {
    width: part.width + 2 * side,
    up: part.up,
    down: drop,
    draw: (x, y) => {
      const right = x + part.width + 2 * side;
      const middle = (x + right) / 2;
      return (
        `${line(x, y, x + side)}${part.draw(x + side, y)}${line(x + side + part.width, y, right)}` +
        `<path d="M${right - side} ${y}q${curve} 0 ${curve} ${curve}V${y + drop - curve}q0 ${curve} -${curve} ${curve}H${x + side}q-${curve} 0 -${curve} -${curve}V${y + curve}q0 -${curve} ${curve} -${curve}"/>` +
        `<path class="arrow" d="M${middle + 4} ${y + drop - 4}l-8 4l8 4z"/>`
      );
    },
  };
  return optional(once);
}

function drawing(part) {
  const inner = () => sequence(part.definition ?? []);
  switch (part.type) {
    case "Terminal":
      return box(part.name.startsWith("'") ? part.name.slice(1, -1) : part.name, part.name.startsWith("'") ? "word" : "token");
    case "NonTerminal":
      return box(part.name, "rule");
    case "Option":
      return optional(inner());
    case "Repetition":
      return repeated(inner());
    case "Alternation":
      return choice(part.definition.map((alternative) => sequence(alternative.definition ?? [])));
    default:
      return inner();
  }
}

const sequence = (parts) => row(parts.map(drawing));

function usedBy(rules, name) {
  const mentions = (part) => (part.type === "NonTerminal" && part.name === name) || (part.definition ?? []).some(mentions);
  return rules.filter((rule) => rule.definition.some(mentions)).map((rule) => rule.name);
}

/** The page. `note` is what stands in the grammar's heading, `lexical` the definitions of tokens. */
export function railroadPage(rules, note, lexical) {
  const sections = rules.map(({ name, definition }) => {
    const whole = sequence(definition);
    const [width, tall] = [whole.width + 60, whole.up + whole.down + 16];
    const y = whole.up + 8;
    const users = usedBy(rules, name);
    const end = 30 + whole.width;
    const svg = `<svg width="${Math.ceil(width)}" height="${Math.ceil(tall)}" role="img" aria-label="${name}"><path class="end" d="M10 ${y - 7}v14M15 ${y - 7}v14"/>${line(15, y, 30)}${whole.draw(30, y)}${line(end, y, end + 15)}<path class="end" d="M${end + 15} ${y - 7}v14M${end + 20} ${y - 7}v14"/></svg>`;
    const used = users.length ? `<p>used by ${users.map((u) => `<a href="#${u}">${u}</a>`).join(", ")}</p>` : "";
    return `<section id="${name}">\n<h2>${name}</h2>\n<div class="scroll">${svg}</div>\n${used}\n</section>`;
  });
  return `<!doctype html>
<!-- Generated from the parser by scripts/grammar.mjs: do not edit. -->
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>The grammar of .moe files</title>
<style>
:root { color-scheme: light dark; --text: #1c1e21; --back: #fff; --line: #68707a; --word: #e8f1fb; --wordline: #3a77b5; --token: #eef6e9; --tokenline: #5b8a3c; --rule: #fdf3dc; --ruleline: #b98b24; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e6e9; --back: #17191c; --line: #8b949e; --word: #17304a; --wordline: #5a9bdc; --token: #20351a; --tokenline: #7fb35c; --rule: #3a2f14; --ruleline: #d3a63f; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
h2 { margin: 2.2rem 0 .4rem; font-size: 1.05rem; }
p { margin: .3rem 0; font-size: .85rem; color: var(--line); }
pre { white-space: pre-wrap; font-size: .85rem; }
a { color: inherit; }
nav a { display: inline-block; margin-right: .8rem; font-size: .9rem; }
.scroll { overflow-x: auto; }
svg { display: block; }
svg path { fill: none; stroke: var(--line); stroke-width: 1.5; }
svg path.end { stroke-width: 2; }
svg path.arrow { fill: var(--line); stroke: none; }
svg text { font: 12.3px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; text-anchor: middle; fill: var(--text); }
svg rect { stroke-width: 1.3; }
.word { fill: var(--word); stroke: var(--wordline); }
.token { fill: var(--token); stroke: var(--tokenline); }
.rule { fill: var(--rule); stroke: var(--ruleline); }
section:target h2 { text-decoration: underline; }
</style>
<h1>The grammar of .moe files</h1>
<p>Follow a line from left to right. Round boxes are words and signs as they are written (blue) or kinds of them (green); square boxes are other rules.</p>
<nav>${rules.map((r) => `<a href="#${r.name}">${r.name}</a>`).join("\n")}</nav>
${sections.join("\n")}
<h2>What the diagrams do not say</h2>
<pre>${escape(note)}</pre>
<h2>Tokens</h2>
<pre>${escape(lexical)}</pre>
</html>
`;
}
