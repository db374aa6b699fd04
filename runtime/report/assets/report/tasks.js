// ---- Tasks

function tasksSection() {
  const byName = table(
    "names",
    [
      {
        title: "Task name",
        get: (at) => names[at],
        show: (name, at) => element("span", {}, swatch(at), name),
      },
      { title: "Tasks", get: (at) => model.by_name[at].tasks, show: count, number: true },
      { title: "Failed", get: (at) => model.by_name[at].failed, show: count, number: true },
      { title: "Repeated", get: (at) => model.by_name[at].retried, show: count, number: true },
      {
        title: "Time of the function",
        get: (at) => model.by_name[at].compute_s,
        show: duration,
        number: true,
      },
      {
        title: "Median",
        get: (at) => model.by_name[at].median_s,
        show: duration,
        number: true,
        help: "To 1 %",
      },
      { title: "95 %", get: (at) => model.by_name[at].p95_s, show: duration, number: true, help: "To 1 %" },
      { title: "Longest", get: (at) => model.by_name[at].max_s, show: duration, number: true },
      {
        title: "Around it",
        get: (at) => model.by_name[at].overhead_s,
        show: duration,
        number: true,
        help: "Time on workers before and after the task function",
      },
      { title: "Bytes in", get: (at) => model.by_name[at].input_bytes, show: bytes, number: true },
      { title: "Bytes out", get: (at) => model.by_name[at].output_bytes, show: bytes, number: true },
      { title: "Most memory", get: (at) => model.by_name[at].memory_bytes, show: bytes, number: true },
    ],
    names.map((_, at) => at),
    { caption: "By name, all attempts", sort: 4, descending: true, filter: names.length > 20 },
  );
  const outcome = (value, row) =>
    element("span", {
      class: isFailed(row) ? "bad" : null,
      text: value + (attempts.last[row.at] === 0 ? ", repeated" : ""),
    });
  const all = table(
    "attempts",
    [
      { title: "Task", get: column("task"), number: true },
      {
        title: "Name",
        get: nameOf,
        show: (name, row) => element("span", {}, swatch(attempts.name[row.at]), name),
      },
      attempts.label.some(isKnown) && { title: "Label", wide: true, get: column("label") },
      { title: "Attempt", get: column("attempt"), number: true },
      { title: "Outcome", get: outcomeOf, show: outcome },
      attempts.faults.length > 0 && { title: "Fault", get: faultOf },
      { title: "Worker", get: column("worker"), number: true },
      { title: "Submitted", get: column("submitted"), show: duration, number: true },
      {
        title: "Waited",
        get: (row) => spent(attempts.submitted[row.at], attempts.dispatched[row.at]),
        show: duration,
        number: true,
        help: "From submission to hand-over",
      },
      {
        title: "Before",
        get: (row) => spent(attempts.received[row.at], attempts.start[row.at]),
        show: duration,
        number: true,
        help: "On the worker, before the task function",
      },
      {
        title: "Function",
        get: (row) => spent(attempts.start[row.at], attempts.end[row.at]),
        show: duration,
        number: true,
      },
      {
        title: "After",
        get: (row) => spent(attempts.end[row.at], attempts.finished[row.at]),
        show: duration,
        number: true,
        help: "On the worker, after the task function",
      },
      { title: "CPU", get: column("cpu"), show: duration, number: true },
      { title: "In", get: column("input_bytes"), show: bytes, number: true },
      { title: "Out", get: column("output_bytes"), show: bytes, number: true },
      { title: "Memory", get: column("memory"), show: bytes, number: true },
    ].filter(Boolean),
    rows,
    {
      caption: sampled ? `Attempts of one task in ${attempts.one_of}, and of those that failed` : "Attempts",
      sort: 0,
      filter: true,
    },
  );
  section("tasks", "Tasks", byName, all);
}

// ---- Payloads and memory

const WAYS = {
  inline: "with the call, through the canonical ABI",
  read: "read into guest memory piece by piece",
  mapped: "mapped into the guest: no copy",
  copied: "copied once by the host",
  reference: "by reference, without a sandbox",
  linked: "as a file, to a program and from it",
  untouched: "never looked at",
  stored: "through the store of a transformer",
};

function flowSection() {
  const ways = Object.entries(model.flow).flatMap(([side, by]) =>
    Object.entries(by).map(([way, sums]) => ({
      side: side === "inputs" ? "arguments" : "results",
      way,
      ...sums,
    })),
  );
  const total = ways.reduce((sum, way) => sum + way.bytes, 0);
  const bar = stackedBar(
    ways.map((way, at) => ({
      colour: `c${at % PALETTE}`,
      title: `${way.side} ${way.way}`,
      value: way.bytes,
    })),
    total,
    bytes,
  );
  const content = [
    total > 0 && bar,
    table(
      "flow",
      [
        { title: "Of", get: (way) => way.side },
        { title: "Way", get: (way) => way.way },
        { title: "Payloads", get: (way) => way.payloads, show: count, number: true },
        { title: "Bytes", get: (way) => way.bytes, show: bytes, number: true },
        { title: "Share", get: (way) => way.bytes / total, show: percent, number: true },
        {
          title: "Moved",
          get: (way) => way.moved_bytes,
          show: bytes,
          number: true,
          help: "What guests asked for",
        },
        { title: "Copies", get: (way) => way.copies, show: count, number: true },
        { title: "Bytes copied", get: (way) => way.copied_bytes, show: bytes, number: true },
        { title: "What it is", wide: true, get: (way) => WAYS[way.way] },
      ],
      ways,
      { caption: "How payloads travelled, by attempts whose workers told", sort: 3, descending: true },
    ),
  ];
  if (run && total > 0) {
    content.push(
      lineChart(
        "payload-bytes",
        "Bytes of payloads per second, by the end of their attempts",
        [
          { title: "Arguments", colour: "c0", values: smooth(perSecond(timeline.input_bytes)), fill: true },
          { title: "Results", colour: "c1", values: smooth(perSecond(timeline.output_bytes)) },
        ],
        { show: bytesRate },
      ),
    );
  }
  section("payloads", "Payloads", content);
}

function memorySection() {
  const { memory } = model;
  const limit = memory.limit_bytes ?? memory.default_limit_bytes;
  const content = [
    facts([
      ["Limit of a sandbox", `${bytes(limit)}${isKnown(memory.limit_bytes) ? "" : ", the default"}`],
      [
        "Largest sandbox",
        memory.largest_bytes
          ? `${bytes(memory.largest_bytes)}, ${percent(memory.largest_bytes / limit)} of it`
          : "none told",
      ],
      ["Attempts that ran out of it", count(memory.out_of_memory)],
      ["Largest native program", memory.largest_program_bytes ? bytes(memory.largest_program_bytes) : null],
    ]),
  ];
  if (run && memory.largest_bytes) {
    const near = memory.largest_bytes > limit / 10;
    const series = [
      {
        title: "Largest sandbox of attempts that ended",
        colour: "c2",
        values: smooth(timeline.memory_bytes, largest),
        fill: true,
      },
    ];
    if (near)
      series.push({
        title: "Limit",
        colour: "failed",
        values: timeline.submitted.map(() => limit),
        dash: [6, 4],
      });
    content.push(
      lineChart("memory-chart", "Memory of sandboxes", series, {
        show: bytes,
        note: near ? null : "The limit is more than ten times as high, and not drawn.",
      }),
    );
  }
  section("memory", "Memory", content);
}
