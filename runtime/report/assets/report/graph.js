// ---- Dependency graph

/// Layers from left to right: a node is right of all that it waits for. Edges that close a circle, as there are
/// between names, do not count.
function layered({ nodes, edges }) {
  const next = nodes.map(() => []);
  edges.forEach(([from, to]) => from !== to && next[from].push(to));
  const state = nodes.map(() => 0);
  const done = [];
  for (let root = 0; root < nodes.length; root += 1) {
    const stack = state[root] ? [] : [[root, 0]];
    if (stack.length) state[root] = 1;
    while (stack.length) {
      const top = stack[stack.length - 1];
      const [at, child] = top;
      if (child === next[at].length) {
        state[at] = 2;
        done.push(at);
        stack.pop();
        continue;
      }
      top[1] += 1;
      const to = next[at][child];
      if (state[to] === 1) next[at][child] = -1;
      else if (!state[to]) {
        state[to] = 1;
        stack.push([to, 0]);
      }
    }
  }
  const layer = nodes.map(() => 0);
  const before = nodes.map(() => []);
  for (const at of done.reverse()) {
    for (const to of next[at]) {
      if (to < 0) continue;
      layer[to] = Math.max(layer[to], layer[at] + 1);
      before[to].push(at);
    }
  }
  const layers = [];
  layer.forEach((at, node) => (layers[at] ||= []).push(node));
  const place = nodes.map(() => 0);
  const settle = (members) =>
    members.forEach((node, at) => {
      place[node] = at;
    });
  layers.forEach(settle);
  const middle = (others, node) =>
    others.length ? others.reduce((sum, other) => sum + place[other], 0) / others.length : place[node];
  for (let pass = 0; pass < 4; pass += 1) {
    for (const members of layers) {
      const key = new Map(
        members.map((node) => [
          node,
          middle(pass % 2 ? next[node].filter((to) => to >= 0) : before[node], node),
        ]),
      );
      members.sort((one, other) => key.get(one) - key.get(other) || one - other);
      settle(members);
    }
  }
  return { layer, layers, place };
}

function graphSection() {
  const { graph } = model;
  if (!graph.nodes.length) return;
  const { layer, layers, place } = layered(graph);
  const [wide, tall, gapX, gapY] = graph.of === "names" ? [170, 40, 70, 22] : [112, 22, 46, 8];
  const most = Math.max(...layers.map((members) => members.length));
  const x = (node) => 12 + layer[node] * (wide + gapX);
  const y = (node) => 24 + (place[node] + (most - layers[layer[node]].length) / 2) * (tall + gapY);
  const width = 24 + layers.length * (wide + gapX) - gapX;
  const height = 40 + most * (tall + gapY);
  const thick = Math.max(...graph.edges.map((edge) => edge[2]), 1);
  const paths = graph.edges.map(([from, to, number]) => {
    const [x1, y1, x2, y2] = [x(from) + wide, y(from) + tall / 2, x(to), y(to) + tall / 2];
    const d =
      from === to
        ? `M ${x1 - wide * 0.7} ${y(from)} c -10 -24, ${wide * 0.4 + 10} -24, ${wide * 0.4} 0`
        : x2 > x1
          ? `M ${x1} ${y1} C ${x1 + gapX * 0.6} ${y1}, ${x2 - gapX * 0.6} ${y2}, ${x2} ${y2}`
          : `M ${x1 - wide / 2} ${y(from) + tall} C ${x1} ${Math.max(y1, y2) + 60}, ${x2} ${Math.max(y1, y2) + 60}, ${x2 + wide / 2} ${y(to) + tall}`;
    const path = element(
      "svg:path",
      { d, "stroke-width": 1 + ((3 * number) / thick) * (graph.of === "names"), "marker-end": "url(#arrow)" },
      element("svg:title", {
        text: `${title(from)} → ${title(to)}${number > 1 ? `: ${count(number)} edges` : ""}`,
      }),
    );
    return { from, to, path };
  });
  function title(node) {
    const { name, task, tasks, failed } = graph.nodes[node];
    return isKnown(task)
      ? `#${task} ${names[name]}${failed ? ", failed" : ""}`
      : `${names[name]}: ${count(tasks)} tasks${failed ? `, ${count(failed)} without outputs` : ""}`;
  }
  const light = (node, on) =>
    paths.forEach(({ from, to, path }) => (from === node || to === node) && path.classList.toggle("lit", on));
  const boxes = graph.nodes.map((node, at) => {
    const chars = Math.floor(wide / 7.2);
    const text = isKnown(node.task) ? `#${node.task} ${names[node.name]}` : names[node.name];
    const shown = text.length > chars ? `${text.slice(0, chars - 1)}…` : text;
    const show = () =>
      isKnown(node.task) ? showTask(node.task) : page.tables.attempts.query(names[node.name]);
    return element(
      "svg:g",
      {
        class: node.failed ? "node failed" : "node",
        tabindex: "0",
        role: "button",
        "aria-label": title(at),
        onmouseenter: () => light(at, true),
        onmouseleave: () => light(at, false),
        onfocus: () => light(at, true),
        onblur: () => light(at, false),
        onclick: show,
        onkeydown: (event) => event.key === "Enter" && show(),
      },
      element("svg:title", { text: title(at) }),
      element("svg:rect", {
        x: x(at),
        y: y(at),
        width: wide,
        height: tall,
        rx: 4,
        style: `fill: color-mix(in srgb, var(--c${node.name % PALETTE}) 25%, var(--back))`,
      }),
      element("svg:text", { x: x(at) + 6, y: y(at) + 15, text: shown }),
      graph.of === "names" &&
        element("svg:text", { x: x(at) + 6, y: y(at) + 32, text: `${count(node.tasks)} tasks` }),
    );
  });
  const arrow = element(
    "svg:defs",
    {},
    element(
      "svg:marker",
      {
        id: "arrow",
        viewBox: "0 0 8 8",
        refX: 7,
        refY: 4,
        markerWidth: 6,
        markerHeight: 6,
        markerUnits: "userSpaceOnUse",
        orient: "auto",
      },
      element("svg:path", { d: "M 0 0 L 8 4 L 0 8 z", style: "fill: var(--muted); stroke: none" }),
    ),
  );
  const svg = element(
    "svg:svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Dependency graph" },
    arrow,
    paths.map(({ path }) => path),
    boxes,
  );
  let scale = 1;
  const zoom = (factor) => {
    scale = Math.min(4, Math.max(0.1, factor === 0 ? 1 : scale * factor));
    svg.setAttribute("width", width * scale);
    svg.setAttribute("height", height * scale);
  };
  const button = (text, label, factor) =>
    element("button", { type: "button", "aria-label": label, text, onclick: () => zoom(factor) });
  const what =
    graph.of === "names"
      ? "There are too many tasks to show each: a node is all tasks of a name, an edge all dependencies between two names."
      : "A node is a task; what waits for it is to its right.";
  section(
    "graph",
    "Dependencies",
    paragraph(
      `${what} ${count(graph.total_edges)} dependencies in all. A dashed red outline: failed.`,
      "note",
    ),
    element(
      "div",
      { class: "legend" },
      button("+", "Larger", 1.4),
      button("−", "Smaller", 1 / 1.4),
      button("1:1", "Usual size", 0),
    ),
    element("div", { class: "graph", tabindex: "0", role: "region", "aria-label": "Dependency graph" }, svg),
  );
  page.graph = { nodes: boxes.length, edges: paths.length };
}
