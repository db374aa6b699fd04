// ---- Gantt chart

/// Lanes: one for each worker, more for one that runs several attempts at a time.
function lanes() {
  const order = model.workers.map((worker) => worker.id);
  const byWorker = new Map(order.map((id) => [id, []]));
  const nowhere = [];
  for (const row of rows) {
    const begin = beginOf(row);
    if (!isKnown(begin)) continue;
    const worker = attempts.worker[row.at];
    const own = byWorker.get(worker) ?? nowhere;
    own.push({ row, begin, end: Math.max(begin, endOf(row)) });
  }
  const made = [];
  const place = (label, bars, worker) => {
    bars.sort((one, other) => one.begin - other.begin);
    const ends = [];
    for (const bar of bars) {
      let at = ends.findIndex((end) => end <= bar.begin + 1e-6);
      if (at < 0) at = Math.min(ends.length, 31);
      ends[at] = bar.end;
      bar.sub = at;
    }
    for (let at = 0; at < Math.max(1, ends.length); at += 1) {
      made.push({ label: at ? "" : label, worker, bars: bars.filter((bar) => bar.sub === at) });
    }
  };
  for (const worker of model.workers) place(`worker ${worker.id}`, byWorker.get(worker.id), worker);
  if (nowhere.length) place("unknown", nowhere, null);
  return made;
}

function describeBar({ row, begin, end }) {
  const at = row.at;
  const lines = [
    [
      element("span", { class: "swatch", style: `background: var(--c${attempts.name[at] % PALETTE})` }),
      `#${row.task} ${nameOf(row)}${attempts.label[at] ? ` (${attempts.label[at]})` : ""}`,
    ],
    [
      `attempt ${attempts.attempt[at] ?? "–"}, ${outcomeOf(row)}${faultOf(row) ? `, injected ${faultOf(row)}` : ""}`,
    ],
    [`${duration(begin)} to ${duration(end)}: ${duration(end - begin)}`],
  ];
  const compute = spent(attempts.start[at], attempts.end[at]);
  if (isKnown(compute))
    lines.push([
      `task function ${duration(compute)}, before ${duration(spent(begin, attempts.start[at]))}, after ${duration(spent(attempts.end[at], end))}`,
    ]);
  if (attempts.input_bytes[at] || attempts.output_bytes[at])
    lines.push([`${bytes(attempts.input_bytes[at])} in, ${bytes(attempts.output_bytes[at])} out`]);
  return lines;
}

function ganttChart() {
  const all = lanes();
  const laneHeight = Math.max(5, Math.min(26, Math.floor(900 / Math.max(1, all.length))));
  const height = Math.max(90, all.length * laneHeight + 48);
  const every = Math.max(1, Math.ceil(14 / laneHeight));
  const drawBars = (plot) => {
    const { ctx } = plot;
    const ratio = uPlot.pxRatio;
    const { left, top, width } = plot.bbox;
    const { min, max } = plot.scales.x;
    const laneTall = plot.bbox.height / all.length;
    const laneTop = (lane) => top + lane * laneTall;
    const x = (value) => left + ((value - min) / (max - min)) * width;
    const colours = Array.from({ length: PALETTE }, (_, at) => paletteColour(at));
    const [failed, text, idle] = ["failed", "text", "idle"].map(colour);
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, plot.bbox.height);
    ctx.clip();
    all.forEach((lane, at) => {
      const from = laneTop(at) + ratio;
      const tall = Math.max(1, laneTall - 2 * ratio);
      drawLoad(ctx, lane, from, tall, x, min, max, idle);
      for (const bar of lane.bars) {
        if (bar.end < min || bar.begin > max) continue;
        drawBar(ctx, bar, x, from, tall, ratio, colours, failed, text);
      }
      ctx.fillStyle = failed;
      for (const loss of lane.worker ? lane.worker.lost : []) {
        ctx.fillRect(x(loss.time_s), from - ratio, 2 * ratio, tall + 2 * ratio);
      }
    });
    for (const mark of [...model.phases.map((phase) => phase.time_s), ...model.resumes_s]) {
      ctx.fillStyle = text;
      ctx.fillRect(x(mark), top, ratio, plot.bbox.height);
    }
    ctx.restore();
  };
  const hit = (plot, left, top) => {
    const lane = all[Math.floor(plot.posToVal(top, "y"))];
    const at = plot.posToVal(left, "x");
    const near = Math.abs(plot.posToVal(left + 3, "x") - at);
    const found = lane && lane.bars.filter((bar) => bar.begin - near <= at && bar.end + near >= at);
    return found && found.length
      ? found.reduce((best, bar) => (distance(bar, at) < distance(best, at) ? bar : best))
      : null;
  };
  const figure = chart(
    "gantt-chart",
    {
      title: "Attempts by worker",
      height,
      group: "time",
      extent,
      note: `Colour: task name; pale at both ends: before and after the task function. Red outline and cross: no outputs. Ring: a repeated attempt. Diamond: an injected fault. Red line: the worker was lost. Thin lines: phases and resumptions. A click shows the task in the table.${sampled ? ` One of ${attempts.one_of} tasks is drawn; grey is the load by all.` : ""}`,
      plot: () => ({
        padding: [4, null, 0, null],
        scales: { x: timeScale(), y: { range: () => [0, all.length], dir: -1 } },
        axes: [
          { ...axis(String, 34), values: timeTicks },
          {
            ...axis(String, 84),
            grid: { show: false },
            splits: () => all.map((_, at) => at + 0.5),
            values: () => all.map((lane, at) => (at % every ? "" : lane.label)),
          },
        ],
        series: [{}, { paths: () => null, points: { show: false } }],
        cursor: { y: false, points: { show: false } },
        hooks: { draw: [drawBars] },
      }),
    },
    [
      [extent[0], extent[1]],
      [null, null],
    ],
    (plot, { left, top }) => {
      const found = hit(plot, left, top);
      return found && describeBar(found);
    },
  );
  const frame = figure.querySelector(".chart");
  let pressed = null;
  frame.addEventListener("mousedown", (event) => {
    pressed = [event.clientX, event.clientY];
  });
  frame.addEventListener("click", (event) => {
    const { plot } = page.charts.find((made) => made.id === "gantt-chart");
    const { left, top } = plot.cursor;
    const still = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 4;
    const found = still && left >= 0 ? hit(plot, left, top) : null;
    if (found) showTask(found.row.task);
  });
  return figure;
}

const distance = (bar, at) => Math.max(0, bar.begin - at, at - bar.end);

function drawLoad(ctx, lane, from, tall, x, min, max, idle) {
  if (!sampled || !lane.worker || !lane.label) return;
  const width = timeline.coarse_s;
  lane.worker.load.forEach((load, at) => {
    if (!load || (at + 1) * width < min || at * width > max) return;
    const share = Math.min(1, load / 100);
    ctx.fillStyle = idle;
    ctx.fillRect(x(at * width), from + tall * (1 - share), x((at + 1) * width) - x(at * width), tall * share);
  });
}

function drawBar(ctx, { row, begin, end }, x, from, tall, ratio, colours, failed, text) {
  const at = row.at;
  const [left, right] = [x(begin), x(end)];
  const width = Math.max(ratio, right - left);
  ctx.fillStyle = colours[attempts.name[at] % PALETTE];
  const start = attempts.start[at];
  if (isKnown(start)) {
    ctx.globalAlpha = 0.4;
    ctx.fillRect(left, from, width, tall);
    ctx.globalAlpha = 1;
    const inner = x(start);
    ctx.fillRect(inner, from, Math.max(ratio, x(attempts.end[at] ?? end) - inner), tall);
  } else {
    ctx.globalAlpha = 0.4;
    ctx.fillRect(left, from, width, tall);
    ctx.globalAlpha = 1;
  }
  const middle = from + tall / 2;
  if (isFailed(row)) {
    const size = Math.min(tall, 9 * ratio) / 2;
    const center = left + width / 2;
    ctx.strokeStyle = failed;
    ctx.lineWidth = 2 * ratio;
    ctx.strokeRect(left, from, width, tall);
    ctx.beginPath();
    ctx.moveTo(center - size, middle - size);
    ctx.lineTo(center + size, middle + size);
    ctx.moveTo(center + size, middle - size);
    ctx.lineTo(center - size, middle + size);
    ctx.stroke();
  }
  if (attempts.tries[at] > 1) {
    ctx.strokeStyle = text;
    ctx.lineWidth = 1.5 * ratio;
    ctx.beginPath();
    ctx.arc(left + 5 * ratio, middle, Math.min(3.5 * ratio, tall / 2), 0, 7);
    ctx.stroke();
  }
  if (isKnown(attempts.fault[at])) {
    const size = Math.min(tall, 9 * ratio) / 2;
    ctx.fillStyle = text;
    ctx.beginPath();
    ctx.moveTo(left, middle - size);
    ctx.lineTo(left + size, middle);
    ctx.lineTo(left, middle + size);
    ctx.lineTo(left - size, middle);
    ctx.fill();
  }
}

function showTask(task) {
  page.tables.attempts.query(`#${task}`);
  document.getElementById("tasks").scrollIntoView();
}

const times = (number) => (number === 1 ? "once" : `${count(number)} times`);

function nameLegend() {
  return element(
    "div",
    { class: "legend", "aria-label": "Colours of task names" },
    names.slice(0, 40).map((name, at) => element("span", {}, swatch(at), name)),
  );
}

function ganttSection() {
  const workers = table(
    "workers",
    [
      { title: "Worker", get: (worker) => worker.id, number: true },
      { title: "Host", get: (worker) => worker.host },
      { title: "Joined", get: (worker) => worker.joined_s, show: duration, number: true },
      { title: "Attempts", get: (worker) => worker.attempts, show: count, number: true },
      { title: "Busy", get: (worker) => worker.busy_s, show: duration, number: true },
      { title: "Busy of the run", get: (worker) => worker.busy_s / elapsed, show: percent, number: true },
      {
        title: "Lost",
        wide: true,
        get: (worker) => worker.losses,
        show: (losses, worker) =>
          losses
            ? element(
                "span",
                { class: "bad" },
                `${times(losses)}: `,
                worker.lost
                  .slice(0, 5)
                  .map((loss) => `at ${duration(loss.time_s)}, ${loss.reason}`)
                  .join("; "),
                losses > 5 ? "; …" : "",
              )
            : "never",
      },
    ],
    model.workers,
    { caption: "Workers", filter: model.workers.length > 20 },
  );
  const phases = model.phases.length
    ? element("p", {
        class: "note",
        text: `Phases: ${model.phases.map((phase) => `${phase.name} from ${duration(phase.time_s)}`).join(", ")}`,
      })
    : null;
  section("gantt", "Workers", ganttChart(), nameLegend(), phases, workers);
}
