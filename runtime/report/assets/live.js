// The page of a run that goes on: asks for its model again and again, and draws that anew. What a reader chose
// stays: zoom, series, filters, the order of tables, where the page is scrolled to.

/// How often an answer may fail to come before the page gives up.
const MOST_FAILURES = 4;

const live = { updates: 0, state: "waiting", version: null, paused: false };
page.live = live;
const client = crypto.getRandomValues(new Uint32Array(1))[0];

const news = element("span", { role: "status" });
const pauseButton = element("button", {
  type: "button",
  "aria-pressed": "false",
  text: "Pause",
  onclick: () => {
    live.paused = !live.paused;
    pauseButton.setAttribute("aria-pressed", String(live.paused));
    pauseButton.textContent = live.paused ? "Go on" : "Pause";
    tell();
  },
});
document.getElementById("head").before(element("p", { id: "live" }, news, " ", pauseButton));

function tell() {
  const texts = {
    waiting: "Waiting for the run.",
    "going-on": live.paused
      ? "The run goes on; the page stands still."
      : "The run goes on; the page follows it.",
    ended: "The run has ended: this is its last state.",
    gone: "The run does not answer any more: this is the last that was known of it.",
  };
  if (news.textContent !== texts[live.state]) news.textContent = texts[live.state];
  pauseButton.hidden = live.state === "ended" || live.state === "gone";
}

/// The path to the element that has the focus, child by child.
function pathOf(node) {
  const path = [];
  for (; node && node !== document.body; node = node.parentElement) {
    path.unshift([...node.parentElement.children].indexOf(node));
  }
  return path;
}

const at = (path) => path.reduce((node, place) => node?.children[place], document.body);

/// What a reader chose, to be found again in what is drawn next.
function kept() {
  const focused = document.activeElement;
  return {
    charts: Object.fromEntries(page.charts.map((made) => [made.id, made.keep()])),
    tables: Object.fromEntries(Object.entries(page.tables).map(([id, table]) => [id, table.keep()])),
    focus: focused && focused !== document.body ? pathOf(focused) : null,
    selection: focused?.selectionStart,
    top: window.scrollY,
  };
}

function draw(model) {
  page.kept = kept();
  const main = document.getElementById("main");
  main.style.minHeight = `${main.offsetHeight}px`;
  for (const made of page.charts) made.plot.destroy();
  page.charts.length = 0;
  page.tables = {};
  for (const name of Object.keys(groups)) delete groups[name];
  for (const id of ["head", "nav", "main"]) document.getElementById(id).replaceChildren();
  views(model);
  document.title = model.run ? `${model.run.app} on ${model.run.executor}: ${model.run.state}` : model.path;
  for (const table of Object.values(page.tables)) table.settle();
  main.style.minHeight = "";
  window.scrollTo(window.scrollX, page.kept.top);
  const focus = page.kept.focus && at(page.kept.focus);
  if (focus) focus.focus({ preventScroll: true });
  if (focus && isKnown(page.kept.selection)) focus.selectionStart = page.kept.selection;
  page.kept = null;
}

/// Whether a reader is in the middle of something that a new drawing would break.
let isPressed = false;
addEventListener("pointerdown", () => {
  isPressed = true;
});
for (const kind of ["pointerup", "pointercancel", "blur"]) {
  addEventListener(kind, () => {
    isPressed = false;
  });
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/// The model, if it is another than before. The answer waits until there is one.
async function ask() {
  const headers = live.version ? { "If-None-Match": live.version } : {};
  const answer = await fetch(`model.json?client=${client}`, { headers, signal: AbortSignal.timeout(60000) });
  if (answer.status === 304) return null;
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  live.version = answer.headers.get("ETag");
  return answer.json();
}

async function follow() {
  let failures = 0;
  while (live.state !== "ended") {
    let next = null;
    try {
      next = await ask();
      failures = 0;
    } catch {
      failures += 1;
      if (failures >= MOST_FAILURES) {
        live.state = "gone";
        break;
      }
      await pause(300 * failures);
    }
    if (!next) continue;
    const goesOn = !next.run || next.run.state === "going-on";
    live.state = goesOn ? "going-on" : "ended";
    tell();
    // The next answer is as good as this one.
    if (goesOn && (live.paused || isPressed || document.hidden)) continue;
    const begun = performance.now();
    draw(next);
    live.updates += 1;
    // Drawing takes at most a tenth of the time: what the page costs is taken from the run.
    if (goesOn) await pause(Math.min(2000, 9 * (performance.now() - begun)));
  }
  tell();
}

tell();
follow();
