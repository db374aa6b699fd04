"use strict";
// The page of a comparison.

const { groups: sides, runs, compared, warnings } = model;
const numberOf = (side, name) => side.numbers[name] ?? null;
const meanOf = (side, name) => numberOf(side, name)?.mean ?? null;
const valuesOf = (side, name) =>
  side.runs
    .map((at) => runs[at])
    .filter((run) => run.counts && isKnown(run.numbers[name]))
    .map((run) => run.numbers[name]);

/// A mean, and half of its confidence interval where there were repeats.
function estimate(show) {
  return (mean, side, name) => {
    const known = numberOf(side, name);
    return known && isKnown(known.half_width) ? `${show(mean)} ± ${show(known.half_width)}` : show(mean);
  };
}

function numberColumn(title, name, show, help) {
  return {
    title,
    get: (side) => meanOf(side, name),
    show: (mean, side) => estimate(show)(mean, side, name),
    number: true,
    help,
  };
}

function head() {
  const parent = document.getElementById("head");
  parent.append(element("h1", { text: `${count(runs.length)} runs, ${count(sides.length)} configurations` }));
  parent.append(
    paragraph(
      compared.length ? `They differ in ${compared.join(", ")}.` : "All are repeats of one configuration.",
      "muted",
    ),
  );
  parent.append(
    paragraph(
      "Runs of equal configuration are repeats. A number is their mean, ± half of its 95 % confidence interval (Student's t).",
      "note",
    ),
  );
  if (warnings.length) {
    parent.append(
      element(
        "div",
        { class: "notes", role: "note", "aria-label": "Warnings" },
        element(
          "ul",
          {},
          warnings.map((warning) => element("li", { text: warning })),
        ),
      ),
    );
  }
}

const configuration = {
  title: "Configuration",
  get: (side) => `${side.number}. ${side.label}`,
  wide: true,
  show: (label, side) => element("span", {}, swatch(side.number - 1), label),
};

function numbersSection() {
  const repeats = { title: "Runs", get: (side) => side.runs.length, number: true };
  section(
    "numbers",
    "Numbers",
    table(
      "rates",
      [
        configuration,
        { title: "Slots", get: (side) => side.slots, show: count, number: true },
        repeats,
        numberColumn("Makespan", "makespan_s", duration),
        numberColumn(
          "Makespan × slots",
          "makespan_times_slots_s",
          duration,
          "What the run took of the machine",
        ),
        numberColumn("Tasks", "tasks", count),
        numberColumn("Tasks/s", "tasks_per_s", digits),
        numberColumn("Tasks/s per slot", "tasks_per_s_per_slot", digits),
        numberColumn("Longest chain", "longest_chain_s", duration),
        numberColumn("Queue per task", "queue_per_task_s", duration),
        numberColumn("Function per task", "compute_per_task_s", duration),
        numberColumn(
          "Around it per task",
          "overhead_per_task_s",
          duration,
          "Time on workers before and after the task function",
        ),
        numberColumn("Payload per task", "payload_bytes_per_task", bytes),
        numberColumn("Most memory", "largest_memory_bytes", bytes),
      ],
      sides,
      { caption: "Configurations", filter: sides.length > 20 },
    ),
  );
}

const PHASES = [
  ["compute", "Compute"],
  ["program", "Programs"],
  ["resolve", "Resolve"],
  ["prepare", "Instantiate"],
  ["store", "Store"],
  ["unknown", "Unknown"],
  ["idle", "Idle"],
];

function phasesSection() {
  const bars = sides.map((side) => {
    const parts = PHASES.map(([kind, title]) => ({
      colour: kind,
      title,
      value: meanOf(side, `${kind}_share`) ?? 0,
    }));
    const whole = parts.reduce((sum, part) => sum + part.value, 0);
    return element(
      "div",
      {},
      element("p", { text: `${side.number}. ${side.label}` }),
      stackedBar(parts, whole, percent),
    );
  });
  section(
    "phases",
    "Where the time went",
    element(
      "div",
      { class: "legend" },
      PHASES.map(([kind, title]) =>
        element(
          "span",
          {},
          element("span", { class: "swatch", style: `background: var(--${kind})`, "aria-hidden": "true" }),
          title,
        ),
      ),
    ),
    bars,
    table(
      "shares",
      [configuration, ...PHASES.map(([kind, title]) => numberColumn(title, `${kind}_share`, percent))],
      sides,
      { caption: "Shares of slot time: wall time × slots" },
    ),
    driverPhases(),
  );
}

/// How long the phases of the drivers were, where they are told apart.
function driverPhases() {
  const names = [
    ...new Set(
      sides.flatMap((side) => Object.keys(side.numbers).filter((name) => name.startsWith("phase."))),
    ),
  ];
  if (names.length < 2) return null;
  const columns = names
    .sort()
    .map((name) => numberColumn(name.slice("phase.".length, -"_s".length), name, duration));
  return table("driver-phases", [configuration, ...columns], sides, { caption: "Phases of the driver" });
}

// ---- Figures

function whisker(ctx, x, from, to, size) {
  ctx.beginPath();
  ctx.moveTo(x, from);
  ctx.lineTo(x, to);
  ctx.moveTo(x - size, from);
  ctx.lineTo(x + size, from);
  ctx.moveTo(x - size, to);
  ctx.lineTo(x + size, to);
  ctx.stroke();
}

/// Makespan by app: a bar for each configuration, together by app.
function makespans() {
  const shown = sides
    .filter((side) => isKnown(meanOf(side, "makespan_s")))
    .sort((one, other) => one.app.localeCompare(other.app, "en") || one.number - other.number);
  if (!shown.length) return paragraph("No run ended well: there is no makespan to show.");
  const top =
    Math.max(
      ...shown.map((side) =>
        Math.max(
          numberOf(side, "makespan_s").most,
          meanOf(side, "makespan_s") + (numberOf(side, "makespan_s").half_width ?? 0),
        ),
      ),
    ) * 1.05;
  const extent = [0, top > 0 ? top : 1];
  const tall = 24;
  const draw = (plot) => {
    const { ctx, bbox } = plot;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    shown.forEach((side, at) => {
      const known = numberOf(side, "makespan_s");
      const x = (value) => plot.valToPos(value, "x", true);
      const [from, height] = [bbox.top + (bbox.height / shown.length) * at, bbox.height / shown.length];
      const middle = from + height / 2;
      ctx.fillStyle = paletteColour(side.number - 1);
      ctx.globalAlpha = 0.75;
      ctx.fillRect(x(0), from + 3 * ratio, x(known.mean) - x(0), height - 6 * ratio);
      ctx.globalAlpha = 1;
      ctx.strokeStyle = ctx.fillStyle = colour("text");
      ctx.lineWidth = 1.5 * ratio;
      for (const value of valuesOf(side, "makespan_s"))
        ctx.fillRect(x(value) - ratio, middle - 1.5 * ratio, 3 * ratio, 3 * ratio);
      if (!isKnown(known.half_width)) return;
      const [least, most] = [x(Math.max(0, known.mean - known.half_width)), x(known.mean + known.half_width)];
      ctx.beginPath();
      ctx.moveTo(least, middle);
      ctx.lineTo(most, middle);
      for (const end of [least, most]) {
        ctx.moveTo(end, middle - 5 * ratio);
        ctx.lineTo(end, middle + 5 * ratio);
      }
      ctx.stroke();
    });
    ctx.restore();
  };
  return chart(
    "makespan-by-app",
    {
      title: "Makespan by app",
      extent,
      height: shown.length * tall + 48,
      note: "Dots: runs. Lines: 95 % intervals of the mean.",
      plot: () => ({
        padding: [4, null, 0, null],
        scales: {
          x: { time: false, auto: false, min: extent[0], max: extent[1] },
          y: { range: () => [0, shown.length], dir: -1 },
        },
        axes: [
          { ...axis(duration, 34), values: timeTicks },
          {
            ...axis(String, 170),
            grid: { show: false },
            splits: () => shown.map((_, at) => at + 0.5),
            values: () => shown.map((side) => `${side.app}, ${side.number}`),
          },
        ],
        series: [{}, { paths: () => null, points: { show: false } }],
        cursor: { y: false, points: { show: false } },
        hooks: { draw: [draw] },
      }),
    },
    [extent, [null, null]],
    (plot, { top: y }) => {
      const side = shown[Math.floor(plot.posToVal(y, "y"))];
      return (
        side && [
          [`${side.number}. ${side.label}`],
          [`makespan ${estimate(duration)(meanOf(side, "makespan_s"), side, "makespan_s")}`],
          [`${count(side.runs.length)} runs, ${count(side.slots)} slots`],
        ]
      );
    },
  );
}

/// Settings that are not told by the value on the axis: they make lines of their own.
function apart(place) {
  const names = [...new Set(sides.flatMap((side) => Object.keys(side.settings)))];
  return names.filter((name) => {
    const seen = new Map();
    return sides.some((side) => {
      const [at, value] = [place(side), side.settings[name] ?? ""];
      if (!isKnown(at)) return false;
      if (seen.has(at)) return seen.get(at) !== value;
      seen.set(at, value);
      return false;
    });
  });
}

/// Points of configurations along an axis, joined where only what is on the axis differs.
function lines(place, value, name) {
  const settings = apart(place);
  const found = new Map();
  for (const side of sides) {
    const at = value(side);
    if (!isKnown(at) || !isKnown(meanOf(side, name))) continue;
    const key = [side.app, side.executor, ...settings.map((setting) => side.settings[setting] ?? "")].join(
      "\n",
    );
    const label = [
      side.app,
      side.executor,
      ...settings
        .filter((setting) => setting !== "app" && setting !== "engine.executor")
        .map((setting) => `${setting.split(".").pop()} ${side.settings[setting] ?? "–"}`),
    ].join(", ");
    if (!found.has(key)) found.set(key, { label, points: [] });
    found.get(key).points.push({ at, side, known: numberOf(side, name) });
  }
  const made = [...found.values()];
  made.forEach((line) => line.points.sort((one, other) => one.at - other.at));
  return made;
}

function lineFigure(id, { title, note, place, value, name, showAt, show, log, ticks }) {
  const all = lines(place, value, name);
  const points = all.flatMap((line) => line.points);
  if (!points.length) return paragraph(`${title}: no run that ended well has it.`);
  const ats = [...new Set(points.map((point) => point.at))].sort((one, other) => one - other);
  const few = ats.length < 2 ? " All configurations have the same: there is a point and no line." : "";
  const extent = log ? [ats[0] / 2, ats[ats.length - 1] * 2] : [0, ats[ats.length - 1] * 1.08];
  const columns = all.map((line) =>
    ats.map((at) => line.points.find((point) => point.at === at)?.known.mean ?? null),
  );
  const whiskers = (plot) => {
    const { ctx } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
    ctx.clip();
    all.forEach((line, at) => {
      if (!plot.series[at + 1].show) return;
      ctx.strokeStyle = paletteColour(at);
      ctx.lineWidth = 1.5 * uPlot.pxRatio;
      for (const { at: x, known } of line.points) {
        if (!isKnown(known.half_width)) continue;
        const y = (value) => plot.valToPos(log ? Math.max(value, plot.scales.y.min) : value, "y", true);
        whisker(
          ctx,
          plot.valToPos(x, "x", true),
          y(known.mean - known.half_width),
          y(known.mean + known.half_width),
          4 * uPlot.pxRatio,
        );
      }
    });
    ctx.restore();
  };
  const highest = Math.max(
    ...points.map(({ known }) => Math.max(known.most, known.mean + (known.half_width ?? 0))),
  );
  const lowest = Math.min(...points.map(({ known }) => known.least));
  const figure = chart(
    id,
    {
      title,
      extent,
      log,
      height: 320,
      note: `${note}${few}`,
      plot: () => ({
        scales: {
          x: {
            time: false,
            auto: false,
            min: extent[0],
            max: extent[1],
            distr: log ? 3 : 1,
            log: log ? 2 : 10,
          },
          y: log
            ? { distr: 3, log: 10, range: () => [lowest / 2, highest * 2] }
            : { range: () => [0, highest * 1.08 || 1] },
        },
        axes: [{ ...axis(showAt, 34), ...ticks }, axis(show, 84)],
        series: [
          {},
          ...all.map((line, at) => ({
            label: line.label,
            stroke: () => paletteColour(at),
            width: 2,
            spanGaps: true,
            points: { show: true, size: 7, fill: () => paletteColour(at) },
          })),
        ],
        hooks: { draw: [whiskers] },
      }),
    },
    [ats, ...columns],
    (plot, { index }) =>
      isKnown(index)
        ? [
            [showAt(ats[index])],
            ...all.flatMap((line, at) => {
              const point = line.points.find((point) => point.at === ats[index]);
              return point
                ? [[swatch(at), `${line.label}: ${estimate(show)(point.known.mean, point.side, name)}`]]
                : [];
            }),
          ]
        : null,
  );
  figure.append(
    legend(
      id,
      all.map((line, at) => [line.label, `c${at % PALETTE}`]),
    ),
  );
  return figure;
}

/// As many powers of two as there is room for.
function sizeTicks(_, ticks) {
  const every = Math.max(1, Math.ceil(ticks.length / 10));
  return ticks.map((tick) => (Math.round(Math.log2(tick)) % every ? "" : bytes(tick)));
}

function figuresSection() {
  const size = (side) => {
    const mean = meanOf(side, "payload_bytes_per_task");
    return mean > 0 ? mean : null;
  };
  const slots = (side) => side.slots || null;
  const slotCount = (at) => (at > 0 ? `${count(at)} ${at === 1 ? "slot" : "slots"}` : "");
  const whole = {
    incrs: [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024, 5000, 10000],
  };
  section(
    "figures",
    "Figures",
    makespans(),
    lineFigure("throughput-by-workers", {
      title: "Throughput by workers",
      note: "Tasks per second that succeeded, by slots.",
      place: slots,
      value: slots,
      name: "tasks_per_s",
      showAt: slotCount,
      show: (value) => `${digits(value)}/s`,
      ticks: whole,
    }),
    lineFigure("per-slot-by-workers", {
      title: "Throughput of each slot, by workers",
      note: "Level: it scales as slots do.",
      place: slots,
      value: slots,
      name: "tasks_per_s_per_slot",
      showAt: slotCount,
      show: (value) => `${digits(value)}/s`,
      ticks: whole,
    }),
    lineFigure("time-by-size", {
      title: "Makespan by data size",
      note: "Bytes of arguments and results of a task, on average; both axes are logarithmic.",
      place: (side) => (isKnown(size(side)) ? Math.round(Math.log2(size(side)) * 4) : null),
      value: size,
      name: "makespan_s",
      showAt: bytes,
      show: duration,
      log: true,
      ticks: { incrs: undefined, values: sizeTicks },
    }),
  );
}

// ---- What differs, and the runs

function differencesSection() {
  const names = [...new Set(sides.flatMap((side) => Object.keys(side.settings)))].sort();
  if (!names.length) return;
  section(
    "differences",
    "Settings that differ",
    table(
      "settings",
      [
        { title: "Setting", get: (name) => name },
        ...sides.map((side) => ({
          title: String(side.number),
          help: side.label,
          wide: true,
          get: (name) => side.settings[name],
        })),
      ],
      names,
      { caption: "By number of the configuration", filter: names.length > 20 },
    ),
  );
}

function runsSection() {
  section(
    "runs",
    "Runs",
    table(
      "all-runs",
      [
        { title: "Run", get: (run) => run.path, wide: true },
        { title: "Configuration", get: (run) => run.group + 1, number: true },
        {
          title: "State",
          get: (run) => run.state,
          show: (state, run) =>
            element("span", {
              class: run.counts ? "good" : "bad",
              text: run.counts ? state : `${state}, not counted`,
            }),
        },
        { title: "Makespan", get: (run) => run.numbers.makespan_s, show: duration, number: true },
        { title: "Tasks/s", get: (run) => run.numbers.tasks_per_s, show: digits, number: true },
        { title: "Tasks", get: (run) => run.numbers.tasks, show: count, number: true },
        { title: "Repeated", get: (run) => run.numbers.attempts_repeated, show: count, number: true },
        { title: "Notes", get: (run) => run.notes.join("; "), wide: true },
      ],
      runs,
      { filter: runs.length > 20 },
    ),
  );
}

head();
numbersSection();
figuresSection();
phasesSection();
differencesSection();
runsSection();
drawCharts();
