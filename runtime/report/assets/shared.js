"use strict";
// What every page shares: the model, numbers for people, elements, tables, charts. Texts of a run become text
// nodes and never markup.

const model = JSON.parse(document.getElementById("model").textContent);
const page = { charts: [], tables: {}, kept: null };

// ---- Numbers for people

const isKnown = (value) => value !== null && value !== undefined;

/// Three digits that count.
function digits(value) {
  if (!isKnown(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e15 || size < 1e-4) return value.toExponential(2);
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toLocaleString("en", { maximumFractionDigits: decimals });
}

function count(value) {
  return isKnown(value) ? value.toLocaleString("en") : "–";
}

function duration(seconds) {
  if (!isKnown(seconds)) return "–";
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 1e-6) return `${digits(seconds * 1e9)} ns`;
  if (size < 1e-3) return `${digits(seconds * 1e6)} µs`;
  if (size < 1) return `${digits(seconds * 1e3)} ms`;
  if (size < 120) return `${digits(seconds)} s`;
  if (size < 7200) return `${digits(seconds / 60)} min`;
  return `${digits(seconds / 3600)} h`;
}

function bytes(size) {
  if (!isKnown(size)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (size >= 1024 && at < units.length - 1) {
    size /= 1024;
    at += 1;
  }
  return `${digits(size)} ${units[at]}`;
}

function percent(share) {
  return Number.isFinite(share) ? `${digits(share * 100)} %` : "–";
}

// ---- Elements

function element(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => isKnown(child) && child !== false));
  return made;
}

/// A section of the page with an entry in the navigation.
function section(id, title, ...content) {
  const heading = element("h2", { id: `${id}-title`, text: title });
  const made = element("section", { id, "aria-labelledby": `${id}-title` }, heading, content);
  document.getElementById("main").append(made);
  document.getElementById("nav").append(element("a", { href: `#${id}`, text: title }));
  return made;
}

function paragraph(text, kind) {
  return element("p", { class: kind, text });
}

/// A colour of the style, as it is now: light or dark.
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const PALETTE = 10;

function paletteColour(at) {
  return colour(`c${at % PALETTE}`);
}

function swatch(at) {
  return element("span", {
    class: "swatch",
    style: `background: var(--c${at % PALETTE})`,
    "aria-hidden": "true",
  });
}

// ---- Tables

/// A table that can be sorted by each column and filtered. A column has a title and `get(row)`; `show(value, row)`
/// gives its text or an element. Rows come in pages.
function table(
  id,
  columns,
  rows,
  { sort = null, descending = false, filter = false, step = 100, caption } = {},
) {
  const kept = page.kept?.tables[id];
  const state = { by: sort, descending, query: "", shown: step, ...kept?.state };
  const body = element("tbody");
  const status = element("p", { class: "status", role: "status" });
  const more = element("button", {
    type: "button",
    text: "Show more",
    onclick: () => {
      state.shown += step;
      render();
    },
  });
  const heads = columns.map((column, at) => {
    const button = element("button", { type: "button", text: column.title, onclick: () => order(at) });
    return element(
      "th",
      { scope: "col", class: column.number ? "number" : null, title: column.help },
      button,
    );
  });

  const text = (column, row) => {
    const value = column.get(row);
    const shown = column.show ? column.show(value, row) : value;
    return isKnown(shown) ? shown : "–";
  };

  function order(at) {
    state.descending = state.by === at ? !state.descending : Boolean(columns[at].number);
    state.by = at;
    render();
  }

  function compare(one, other) {
    const get = columns[state.by].get;
    const [a, b] = [get(one), get(other)];
    if (!isKnown(a) || !isKnown(b)) return isKnown(b) - isKnown(a);
    const result =
      typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return state.descending ? -result : result;
  }

  function matches(row) {
    return state.query
      .toLowerCase()
      .split(/\s+/)
      .filter(Boolean)
      .every((word) => {
        if (/^#\d+$/.test(word)) return String(columns[0].get(row)) === word.slice(1);
        return columns.some((column) => {
          const shown = text(column, row);
          return String(shown instanceof Node ? shown.textContent : shown)
            .toLowerCase()
            .includes(word);
        });
      });
  }

  function render() {
    let found = state.query ? rows.filter(matches) : rows;
    if (state.by !== null) found = [...found].sort(compare);
    const listed = found.slice(0, state.shown);
    body.replaceChildren(
      ...listed.map((row) =>
        element(
          "tr",
          {},
          columns.map((column) => {
            const cell = element("td", { class: column.number ? "number" : column.wide ? "wide" : null });
            cell.append(text(column, row));
            return cell;
          }),
        ),
      ),
    );
    heads.forEach((head, at) => {
      const direction = state.descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", state.by === at ? direction : "none");
    });
    more.hidden = listed.length >= found.length;
    const of = state.query ? ` that match, of ${count(rows.length)}` : "";
    status.textContent =
      rows.length > step || state.query ? `${count(listed.length)} of ${count(found.length)} rows${of}` : "";
  }

  const search = element("input", {
    type: "search",
    id: `${id}-filter`,
    value: state.query || null,
    placeholder: "words, or #number of a task",
    oninput: (event) => {
      state.query = event.target.value;
      state.shown = step;
      render();
    },
  });
  const label = filter && element("label", { for: `${id}-filter`, class: "filter" }, "Filter ", search);
  const content = element(
    "table",
    { id },
    caption && element("caption", { text: caption }),
    element("thead", {}, element("tr", {}, heads)),
    body,
  );
  render();
  page.tables[id] = {
    query(text) {
      search.value = text;
      state.query = text;
      state.shown = step;
      render();
    },
    rows: () => body.rows.length,
    keep: () => ({ state: { ...state }, left: scroll.scrollLeft, top: scroll.scrollTop }),
    settle: () => kept && scroll.scrollTo(kept.left, kept.top),
  };
  const scroll = element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || id },
    content,
  );
  return element("div", { class: "table" }, label, scroll, status, more);
}

/// Names and values.
function facts(pairs) {
  return element(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => isKnown(value))
      .map(([name, value, help]) =>
        element("div", { title: help }, element("dt", { text: name }), element("dd", {}, value)),
      ),
  );
}

/// Parts of a whole, side by side. Each has a title, a value, and the colour that is called so.
function stackedBar(parts, whole, show) {
  const share = (part) => part.value / (whole || 1);
  const shown = parts.filter((part) => part.value > 0);
  return element(
    "div",
    {
      class: "bar",
      role: "img",
      "aria-label": shown.map((part) => `${part.title} ${percent(share(part))}`).join(", ") || "nothing",
    },
    shown.map((part) =>
      element("span", {
        class: part.colour,
        style: `flex: ${share(part) * 1000} 0 0; background: var(--${part.colour})`,
        title: `${part.title}: ${show(part.value)}`,
        text: share(part) > 0.08 ? part.title : "",
      }),
    ),
  );
}

// ---- Charts

/// A box beside the cursor, for what is there. Its lines are texts, or a swatch and a text.
function tooltip(parent) {
  const box = element("div", { class: "tip", role: "status", hidden: true });
  parent.append(box);
  return {
    box,
    show(lines, left, top) {
      box.replaceChildren(...lines.map((line) => element("div", {}, line)));
      box.hidden = false;
      const room = parent.clientWidth - box.offsetWidth - 8;
      box.style.left = `${Math.max(0, Math.min(left + 14, room))}px`;
      box.style.top = `${Math.max(0, top + 14)}px`;
    },
    hide() {
      box.hidden = true;
    },
  };
}

const axisFont = "12px system-ui, sans-serif";

function axis(show, size, label) {
  return {
    stroke: () => colour("muted"),
    grid: { stroke: () => colour("grid"), width: 1 },
    ticks: { stroke: () => colour("grid"), width: 1 },
    font: axisFont,
    size,
    label,
    labelFont: axisFont,
    values: (_, ticks) => ticks.map((tick) => show(tick)),
    incrs: show === bytes || show.ofBytes ? Array.from({ length: 60 }, (_, power) => 2 ** power) : undefined,
  };
}

/// Bytes each second.
const bytesRate = (value) => `${bytes(value)}/s`;
bytesRate.ofBytes = true;

/// Ticks of time: no more digits than tell two of them apart.
function timeTicks(_, ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : 1;
  const [scale, unit] =
    step >= 120 ? [60, "min"] : step >= 0.1 ? [1, "s"] : step >= 1e-4 ? [1e-3, "ms"] : [1e-6, "µs"];
  let decimals = 0;
  while (
    decimals < 6 &&
    Math.abs(Math.round((step / scale) * 10 ** decimals) - (step / scale) * 10 ** decimals) > 1e-6
  )
    decimals += 1;
  return ticks.map((tick) => `${(tick / scale).toFixed(decimals)} ${unit}`);
}

/// Charts of one group show the same stretch of time.
const groups = {};

function joinGroup(name, chart) {
  const members = (groups[name] ||= []);
  members.push(chart);
  let moving = false;
  return (min, max) => {
    if (moving) return;
    moving = true;
    for (const other of members) {
      const { min: a, max: b } = other.scales.x;
      if (other !== chart && (a !== min || b !== max)) other.setScale("x", { min, max });
    }
    moving = false;
  };
}

/// A chart of uPlot: drag zooms, a double click shows all again, and so do keys: + and - zoom, arrows move, 0
/// shows all. `lines(chart, at)` says what the tooltip says.
function chart(id, { title, height = 220, group = null, log = false, note, ...options }, data, lines) {
  const frame = element("div", {
    class: "chart",
    id,
    tabindex: "0",
    role: "img",
    "aria-label": `${title}. ${note || ""} Keys: plus and minus zoom, arrows move, 0 shows all.`,
  });
  const reset = element("button", { type: "button", class: "reset", text: "Show all", hidden: true });
  const figure = element(
    "figure",
    {},
    element("figcaption", {}, element("span", { text: title }), reset),
    note && paragraph(note, "note"),
    frame,
  );
  const [first, last] = options.extent;
  let share = () => {};
  const made = { id, frame, plot: null };

  function build() {
    const before = made.plot ? made.keep() : page.kept?.charts[id];
    if (made.plot) {
      for (const members of Object.values(groups)) {
        const at = members.indexOf(made.plot);
        if (at >= 0) members.splice(at, 1);
      }
      made.plot.destroy();
    }
    frame.replaceChildren();
    const tip = tooltip(frame);
    const plot = new uPlot(
      {
        width: Math.max(320, frame.clientWidth || 900),
        height,
        legend: { show: false },
        ...options.plot(),
        cursor: {
          drag: { x: true, y: false, dist: 4 },
          sync: group ? { key: group, scales: ["x", null] } : undefined,
          points: { size: 6 },
          ...(options.plot().cursor || {}),
        },
        hooks: {
          ...(options.plot().hooks || {}),
          setScale: [
            (self, key) => {
              if (key !== "x") return;
              const { min, max } = self.scales.x;
              reset.hidden = min <= first && max >= last;
              share(min, max);
            },
          ],
          setCursor: [
            (self) => {
              const { left, top, idx } = self.cursor;
              const inside = left >= 0 && top >= 0 && self.over.matches(":hover, .pointed");
              const said = inside
                ? lines(self, { left, top, index: idx, time: self.posToVal(left, "x") })
                : null;
              if (said) tip.show(said, left + self.over.offsetLeft, top + self.over.offsetTop);
              else tip.hide();
            },
          ],
        },
      },
      data,
      frame,
    );
    if (group) share = joinGroup(group, plot);
    made.plot = plot;
    made.tip = tip.box;
    if (before?.zoom) plot.setScale("x", before.zoom);
    before?.shown.forEach((show, at) => {
      if (at && plot.series[at] && plot.series[at].show !== show) plot.setSeries(at, { show });
    });
  }

  /// What of it a reader chose: the stretch that is shown, and which series.
  made.keep = () => {
    const { min, max } = made.plot.scales.x;
    const zoom = isKnown(min) && (min > first || max < last) ? { min, max } : null;
    return { zoom, shown: made.plot.series.map((one) => one.show) };
  };

  // Along a logarithmic axis, steps are of its logarithm.
  const [to, from] = log ? [Math.log, Math.exp] : [Number, Number];
  const [low, high] = [to(first), to(last)];

  /// Shows a stretch of the axis, within what there is.
  function zoom(min, max) {
    const width = Math.min(high - low, Math.max(max - min, (high - low) * 1e-7));
    const begin = Math.min(Math.max(min, low), high - width);
    const whole = width >= high - low;
    made.plot.setScale(
      "x",
      whole ? { min: first, max: last } : { min: from(begin), max: from(begin + width) },
    );
  }

  frame.addEventListener("keydown", (event) => {
    const { min, max } = made.plot.scales.x;
    const [begin, end] = [to(min), to(max)];
    const step = (end - begin) / 4;
    const actions = {
      "+": () => zoom(begin + step, end - step),
      "=": () => zoom(begin + step, end - step),
      "-": () => zoom(begin - 2 * step, end + 2 * step),
      ArrowLeft: () => zoom(begin - step, end - step),
      ArrowRight: () => zoom(begin + step, end + step),
      0: () => zoom(low, high),
    };
    if (actions[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
      actions[event.key]();
      event.preventDefault();
    }
  });
  reset.addEventListener("click", () => {
    zoom(low, high);
    frame.focus();
  });
  made.build = build;
  made.zoom = zoom;
  page.charts.push(made);
  return figure;
}

/// Series of a legend, which can be switched off.
function legend(made, names) {
  return element(
    "div",
    { class: "legend" },
    names.map(([name, style, hiddenAtFirst], at) => {
      const kept = page.kept?.charts[made]?.shown[at + 1];
      const hidden = isKnown(kept) ? !kept : hiddenAtFirst;
      const button = element(
        "button",
        { type: "button", "aria-pressed": String(!hidden) },
        element("span", { class: "swatch", style: `background: var(--${style})`, "aria-hidden": "true" }),
        name,
      );
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        page.charts.find((other) => other.id === made).plot.setSeries(at + 1, { show: shown });
      });
      return button;
    }),
  );
}

let isWatched = false;

/// Draws all charts, now that the page has its width, and again when the width or the colours change.
function drawCharts() {
  const draw = () => page.charts.forEach((made) => made.build());
  draw();
  if (isWatched) return;
  isWatched = true;
  let waiting = null;
  let width = document.body.clientWidth;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (document.body.clientWidth !== width) draw();
      width = document.body.clientWidth;
    }, 150);
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
