// Put at the end of a page under test: uses it as a reader would, and writes what came of it into the page.
const moment = () => new Promise((done) => setTimeout(done, 20));
const findings = {};

// Pixels with a colour within the axes: grid and letters are grey, what a chart shows is not.
function drawn({ plot }) {
  const { left, top, width, height } = plot.bbox;
  const { data } = plot.ctx.getImageData(left, top, width, height);
  let pixels = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue, alpha] = data.subarray(at, at + 4);
    if (alpha > 40 && Math.max(red, green, blue) - Math.min(red, green, blue) > 40) pixels += 1;
  }
  return pixels;
}

function mouse(over, kind, left, top) {
  const { x, y } = over.getBoundingClientRect();
  over.classList.add("pointed");
  const target = kind === "mouseup" ? document : over;
  target.dispatchEvent(
    new MouseEvent(kind, {
      clientX: x + left,
      clientY: y + top,
      movementX: 1,
      movementY: 1,
      bubbles: true,
      view: window,
    }),
  );
}

const key = (frame, name) => frame.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const scale = ({ plot }) => [plot.scales.x.min, plot.scales.x.max];

// The text of the tooltip at some place along a chart where there is something.
async function tip(made) {
  const { over } = made.plot;
  for (let step = 1; step < 60; step += 1) {
    for (const share of [0.5, 0.2, 0.8]) {
      mouse(over, "mousemove", (over.clientWidth * step) / 60, over.clientHeight * share);
      await moment();
      if (!made.tip.hidden && made.tip.textContent) return made.tip.textContent;
    }
  }
  return "";
}

async function checkChart(made) {
  made.frame.scrollIntoView();
  const found = { drawn: drawn(made), tip: await tip(made) };
  if (!made.zoom) return found;
  const whole = scale(made);
  key(made.frame, "+");
  await moment();
  const keyed = scale(made);
  found.zoom_by_key = keyed[0] > whole[0] && keyed[1] < whole[1];
  found.others_follow = page.charts
    .filter((other) => other.plot.cursor.sync.key && other.plot.cursor.sync.key === made.plot.cursor.sync.key)
    .every((other) => scale(other).join() === keyed.join());
  key(made.frame, "0");
  await moment();
  found.zoom_back = scale(made).join() === whole.join();
  const { over } = made.plot;
  mouse(over, "mousedown", over.clientWidth * 0.25, 20);
  mouse(over, "mousemove", over.clientWidth * 0.75, 20);
  mouse(over, "mouseup", over.clientWidth * 0.75, 20);
  await moment();
  const dragged = scale(made);
  found.zoom_by_drag = dragged[0] > whole[0] && dragged[1] < whole[1];
  key(made.frame, "0");
  await moment();
  return found;
}

async function check() {
  findings.sections = [...document.querySelectorAll("main section")].map((section) => section.id);
  findings.charts = {};
  for (const made of page.charts) findings.charts[made.id] = await checkChart(made);
  findings.tables = {};
  for (const [id, table] of Object.entries(page.tables)) {
    const found = { rows: table.rows() };
    const head = document.querySelectorAll(`#${id} th button`)[1];
    head.click();
    head.click();
    found.sorted = head.parentElement.getAttribute("aria-sort");
    if (document.getElementById(`${id}-filter`)) {
      table.query("no row has these words");
      found.filtered = table.rows();
      table.query("");
    }
    findings.tables[id] = found;
  }
  findings.graph = page.graph;
  findings.unnamed = [...document.querySelectorAll("button, input, [role=img], [role=region]")].filter(
    (control) =>
      !control.textContent.trim() && !control.getAttribute("aria-label") && !control.labels?.length,
  ).length;
  findings.title = document.title;
  findings.images = document.querySelectorAll("img").length;
  findings.objects = document.body.innerText.includes("[object");
  findings.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
  findings.background = getComputedStyle(document.body).backgroundColor;
}

check()
  .catch((error) => problems.push(`check: ${error.stack}`))
  .finally(() => {
    findings.problems = problems;
    const shown = document.createElement("pre");
    shown.id = "findings";
    shown.textContent = JSON.stringify(findings);
    document.body.replaceChildren(shown);
  });
