// ---- Where the time went

const PARTS = [
  [
    "compute",
    "Compute",
    time.compute_s,
    "The task function. Calls of a guest to the host are within it: records do not tell them apart.",
  ],
  ["program", "Programs", time.program_s, "Native programs that task functions ran."],
  [
    "resolve",
    "Resolve",
    time.resolve_s,
    "Arguments of a run with a transformer. What is resolved lazily is within compute.",
  ],
  [
    "prepare",
    "Instantiate",
    time.prepare_s,
    "Making the sandbox and passing arguments, until the task function begins.",
  ],
  [
    "store",
    "Store",
    time.store_s,
    "From the task function's return to published results and the sandbox given back.",
  ],
  [
    "unknown",
    "Unknown",
    time.unknown_s,
    "Attempts whose worker told no times: lost ones, and those that are still out.",
  ],
  ["idle", "Idle", time.idle_s, "The rest of wall time times slots."],
];

function timeSection() {
  const sum = PARTS.reduce((sum, part) => sum + part[2], 0);
  const whole = Math.max(sum, time.slot_s) || 1;
  const bar = stackedBar(
    PARTS.map(([kind, title, value]) => ({ colour: kind, title, value })),
    whole,
    duration,
  );
  const parts = table(
    "parts",
    [
      {
        title: "Part of slot time",
        get: (part) => part[1],
        show: (title, part) =>
          element(
            "span",
            {},
            element("span", { class: "swatch", style: `background: var(--${part[0]})` }),
            title,
          ),
      },
      { title: "Time", get: (part) => part[2], show: duration, number: true },
      { title: "Share", get: (part) => part[2] / whole, show: percent, number: true },
      { title: "What it is", wide: true, get: (part) => part[3] },
    ],
    PARTS,
    {
      caption: `Sums to ${duration(sum)}: ${duration(elapsed)} wall time × ${count(run.slots)} slots = ${duration(time.slot_s)}`,
    },
  );
  const waits = [
    ["Waiting for parents", time.parents_s, "From submission until the last parent had ended."],
    ["Queue", time.queue_s, "From then until the first attempt was handed over: a slot was awaited."],
    ["Delivery", time.deliver_s, "From hand-over until the worker took it, attempts sent ahead included."],
    ["Report", time.report_s, "From the worker's end until the coordinator knew."],
  ];
  const waiting = table(
    "waits",
    [
      { title: "Waiting, not slot time", get: (wait) => wait[0] },
      { title: "Sum over tasks", get: (wait) => wait[1], show: duration, number: true },
      {
        title: "Mean",
        get: (wait) => (counts.attempts ? wait[1] / counts.attempts : null),
        show: duration,
        number: true,
      },
      { title: "What it is", wide: true, get: (wait) => wait[2] },
    ],
    waits,
    { caption: "How long tasks waited; many wait at a time" },
  );
  const more = facts([
    [
      "CPU time of workers",
      duration(time.cpu_s),
      "As far as workers told it; time of native programs is not in it",
    ],
    [
      "In attempts without outputs",
      duration(time.lost_s),
      "Slot time that went into attempts that failed or were lost",
    ],
  ]);
  const over =
    sum > time.slot_s * 1.001
      ? paragraph("Attempts overlap: workers ran more at a time than there are slots.", "warn")
      : null;
  section("time", "Where the time went", bar, over, parts, waiting, more);
}

// ---- Over time

const timeScale = () => ({ time: false, auto: false, min: extent[0], max: extent[1] });

const binTimes = timeline.submitted.map((_, at) => (at + 0.5) * timeline.bin_s);
const perSecond = (values) => values.map((value) => value / timeline.bin_s);

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const largest = (values) => Math.max(...values);

/// Bins joined until there are few enough for each to say something.
function smooth(values, join = mean) {
  const bins = Math.min(160, Math.max(24, Math.round(counts.submitted / 5)));
  const width = Math.max(1, Math.ceil(values.length / bins));
  const joined = [];
  for (let at = 0; at < values.length; at += width) {
    const part = values.slice(at, at + width);
    joined.push(...part.map(() => join(part)));
  }
  return joined;
}

function lineChart(id, title, series, { show, note, group = "time" }) {
  const stepped = uPlot.paths.stepped({ align: 1 });
  const edges = timeline.submitted.map((_, at) => at * timeline.bin_s);
  const data = [edges, ...series.map((one) => one.values)];
  const made = chart(
    id,
    {
      title,
      group,
      note,
      extent,
      plot: () => ({
        scales: { x: timeScale(), y: { range: (_, min, max) => [0, max > 0 ? max * 1.08 : 1] } },
        axes: [{ ...axis(String, 34), values: timeTicks }, axis(show, 84)],
        series: [
          {},
          ...series.map((one) => ({
            label: one.title,
            show: !one.hidden,
            stroke: () => colour(one.colour),
            width: 1.5,
            dash: one.dash,
            paths: one.dash ? undefined : stepped,
            points: { show: false },
            fill: one.fill ? () => `${colour(one.colour)}33` : undefined,
          })),
        ],
      }),
    },
    data,
    (plot, { index }) =>
      isKnown(index)
        ? [
            [`${duration(edges[index])} to ${duration(edges[index] + timeline.bin_s)}`],
            ...series.map((one) => [
              element("span", { class: "swatch", style: `background: var(--${one.colour})` }),
              `${one.title}: ${show(one.values[index])}`,
            ]),
          ]
        : null,
  );
  made.append(
    legend(
      id,
      series.map((one) => [one.title, one.colour, one.hidden]),
    ),
  );
  return made;
}

function overTime() {
  const flat = (value) => timeline.submitted.map(() => value);
  const throughput = [
    { title: "Succeeded", colour: "good", values: smooth(perSecond(timeline.succeeded)), fill: true },
    { title: "Submitted", colour: "muted", values: smooth(perSecond(timeline.submitted)), hidden: true },
  ];
  if (counts.failed + counts.upstream_failed + counts.cancelled)
    throughput.push({
      title: "Failed or cancelled",
      colour: "failed",
      values: smooth(perSecond(timeline.failed)),
    });
  if (counts.retried)
    throughput.push({
      title: "Repeated attempts",
      colour: "c1",
      values: smooth(perSecond(timeline.retried)),
    });
  section(
    "over-time",
    "Over time",
    paragraph("Drag across a chart to zoom; all charts of time follow, the Gantt chart too.", "note"),
    lineChart("throughput", "Throughput, tasks per second", throughput, {
      show: (value) => `${digits(value)}/s`,
    }),
    lineChart(
      "concurrency",
      "Attempts at a time",
      [
        { title: "On workers", colour: "c0", values: timeline.running, fill: true },
        { title: "Slots", colour: "text", values: flat(run.slots), dash: [6, 4] },
      ],
      { show: digits },
    ),
    lineChart(
      "waiting",
      "Tasks waiting for an attempt",
      [{ title: "Waiting, for parents or a slot", colour: "waiting", values: timeline.waiting, fill: true }],
      { show: digits },
    ),
  );
}
