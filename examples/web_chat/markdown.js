/**
 * As much Markdown as models write, to DOM nodes.
 *
 * Text becomes text nodes and nothing is ever parsed as HTML, so that whatever a model says
 * can do no harm. Pictures become links: to load one would tell its server who reads this.
 *
 * `update` may be called as often as the text grows: what has not changed stays as it is,
 * with whatever the reader has selected in it.
 */

export function update(element, text) {
  const blocks = parse(text);
  const old = element.blocks ?? [];
  blocks.forEach((block, i) => {
    block.key = JSON.stringify(block);
    if (old[i]?.key === block.key) return;
    const node = draw(block);
    const place = element.childNodes[i];
    place ? place.replaceWith(node) : element.append(node);
  });
  while (element.childNodes.length > blocks.length) element.lastChild.remove();
  element.blocks = blocks;
}

// -- text to blocks ------------------------------------------------------------------

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const DIVIDER = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/** Deeper than this nobody nests on purpose. */
const DEEP = 12;

export function parse(text, depth = 0) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let found;
    if (!line.trim()) {
      at++;
    } else if ((found = FENCE.exec(line))) {
      const [, fence, language] = found;
      const end = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}\\s*$`);
      // One that is still open goes on to where the text has come.
      const code = takeWhile((next) => !end.test(next), at + 1);
      blocks.push({ kind: "code", language, text: code.join("\n") });
      at += code.length + 2;
    } else if ((found = HEADING.exec(line))) {
      blocks.push({ kind: `h${found[1].length}`, text: found[2].trimEnd().replace(/ #+$/, "") });
      at++;
    } else if (RULE.test(line)) {
      blocks.push({ kind: "hr" });
      at++;
    } else if (depth < DEEP && QUOTE.test(line)) {
      const quoted = takeWhile((next) => QUOTE.test(next), at);
      blocks.push({ kind: "blockquote", blocks: parse(quoted.map((q) => q.replace(QUOTE, "")).join("\n"), depth + 1) });
      at += quoted.length;
    } else if (depth < DEEP && ITEM.test(line)) {
      at = list(at);
    } else if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "")) {
      const rows = takeWhile((next) => next.includes("|"), at);
      const [head, , ...body] = rows.map(cells);
      blocks.push({ kind: "table", head, body });
      at += rows.length;
    } else {
      const paragraph = takeWhile((next, i) => next.trim() && (i === 0 || !begins(next)), at);
      blocks.push({ kind: "p", text: paragraph.map((next) => next.trim()).join("\n") });
      at += paragraph.length;
    }
  }
  return blocks;

  function takeWhile(condition, from) {
    let to = from;
    while (to < lines.length && condition(lines[to], to - from)) to++;
    return lines.slice(from, to);
  }

  /** Read a list that begins in line *from*, and say where it ends. */
  function list(from) {
    const [, indent, first] = ITEM.exec(lines[from]);
    const ordered = /\d/.test(first);
    const items = [];
    let item, inside, to = from;
    for (; to < lines.length; to++) {
      const line = lines[to];
      const found = ITEM.exec(line);
      if (found && found[1].length <= indent.length + 1 && !(item && found[1].length >= inside)) {
        if (found[1].length < indent.length || /\d/.test(found[2]) !== ordered) break;
        inside = found[0].length;
        items.push((item = [line.slice(inside)]));
      } else if (!line.trim()) {
        item.push("");
      } else if (/^ */.exec(line)[0].length > indent.length) {
        item.push(line.replace(new RegExp(`^ {0,${inside}}`), ""));
      } else if (item.at(-1) === "" || begins(line)) {
        break;
      } else {
        item.push(line);
      }
    }
    const start = ordered ? parseInt(first, 10) : undefined;
    blocks.push({ kind: ordered ? "ol" : "ul", start, items: items.map((each) => parse(each.join("\n"), depth + 1)) });
    return to;
  }
}

function begins(line) {
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));
}

function cells(row) {
  const inner = row.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

// -- blocks to nodes -----------------------------------------------------------------

function draw(block) {
  switch (block.kind) {
    case "code":
      return code(block);
    case "hr":
      return make("hr");
    case "blockquote":
      return make("blockquote", ...block.blocks.map(draw));
    case "ul":
    case "ol": {
      const list = make(block.kind, ...block.items.map((item) => make("li", ...item.map(draw))));
      if (block.start !== undefined) list.start = block.start;
      return list;
    }
    case "table": {
      const row = (cell, texts) => make("tr", ...texts.map((text) => make(cell, ...inline(text))));
      const body = make("tbody", ...block.body.map((texts) => row("td", texts)));
      const scroll = make("div", make("table", make("thead", row("th", block.head)), body));
      scroll.className = "table";
      return scroll;
    }
    default:
      return make(block.kind, ...inline(block.text));
  }
}

function code({ language, text }) {
  const copy = make("button", "Copy");
  copy.type = "button";
  // There is none where the page comes from another machine without TLS.
  copy.hidden = !navigator.clipboard;
  copy.onclick = async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  };
  const box = make("div", make("div", make("span", language), copy), make("pre", make("code", text)));
  box.className = "code";
  return box;
}

const INLINE = new RegExp(
  [
    /\\(?<escaped>[!-/:-@[-`{-~])/,
    /(?<!`)(?<ticks>`{1,3})(?!`)(?<code>[^]*?[^`])\k<ticks>(?!`)/,
    /!?\[(?<label>(?:[^[\]]|\[[^\]]*\])*)\]\((?<href>[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+"[^"]*")?\)/,
    /(?<bare>https?:\/\/[^\s<>()]*[^\s<>().,:;!?'"*_~`])/,
    /\*\*(?<strong>\S(?:[^]*?\S)?)\*\*(?!\*)/,
    /(?<![\w\\])__(?<strong_>\S(?:[^]*?\S)?)__(?!\w)/,
    /\*(?<em>[^\s*](?:[^*]*[^\s*])?)\*(?!\*)/,
    /(?<!\w)_(?<em_>[^\s_](?:[^_]*[^\s_])?)_(?!\w)/,
    /~~(?<del>\S(?:[^]*?\S)?)~~/,
  ].map((pattern) => pattern.source).join("|"),
  "g",
);

function inline(text) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > from) nodes.push(text.slice(from, found.index));
    nodes.push(span(found[0], found.groups));
    from = found.index + found[0].length;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

function span(whole, g) {
  if (g.escaped !== undefined) return g.escaped;
  if (g.code !== undefined) return make("code", g.code.replace(/^ (.*\S.*) $/s, "$1"));
  if (g.href !== undefined) return link(g.href, inline(g.label || g.href)) ?? whole;
  if (g.bare !== undefined) return link(g.bare, [g.bare]);
  if (g.del !== undefined) return make("del", ...inline(g.del));
  const strong = g.strong ?? g.strong_;
  return strong !== undefined ? make("strong", ...inline(strong)) : make("em", ...inline(g.em ?? g.em_));
}

function link(href, content) {
  // Nothing else: `javascript:` would run, and relative ones would lead into this page.
  if (!/^(https?:\/\/|mailto:)/i.test(href)) return undefined;
  const a = make("a", ...content);
  a.href = href;
  a.target = "_blank";
  a.rel = "noopener noreferrer nofollow";
  return a;
}

function make(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}
