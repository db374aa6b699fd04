// ---- Failures

function failuresSection() {
  const { failures, injection } = model;
  const content = [];
  const outcomes = Object.entries(failures.by_outcome);
  if (!outcomes.length && !failures.open.length && !injection) {
    content.push(
      paragraph(run ? "No attempt failed, and no fault was injected." : "Nothing is known of failures."),
    );
  }
  if (outcomes.length) {
    content.push(facts(outcomes.map(([outcome, number]) => [outcome, count(number)])));
    if (failures.left_out)
      content.push(paragraph(`${count(failures.left_out)} more are counted and not listed.`, "note"));
    content.push(
      table(
        "failed",
        [
          { title: "Task", get: (row) => row.task, number: true },
          { title: "Name", get: (row) => row.name },
          { title: "Attempt", get: (row) => row.attempt, number: true },
          { title: "Worker", get: (row) => row.worker, number: true },
          { title: "At", get: (row) => row.time_s, show: duration, number: true },
          {
            title: "Outcome",
            get: (row) => row.outcome,
            show: (outcome) => element("span", { class: "bad", text: outcome }),
          },
          { title: "Then", get: (row) => (row.retried ? "tried again" : "given up") },
          { title: "Injected", get: (row) => row.injected },
          { title: "Error", get: (row) => row.kind },
          { title: "Message", wide: true, get: (row) => row.message },
        ],
        failures.rows,
        { caption: "Attempts without outputs", filter: true },
      ),
    );
  }
  if (failures.open.length) {
    content.push(
      table(
        "open",
        [
          { title: "Task", get: (row) => row.task, number: true },
          { title: "Name", get: (row) => row.name },
          { title: "Submitted", get: (row) => row.submitted_s, show: duration, number: true },
          { title: "Attempt that is out", get: (row) => row.attempt, number: true },
          { title: "Worker", get: (row) => row.worker, number: true },
        ],
        failures.open,
        { caption: `Tasks that were never finished: ${count(counts.open)}`, filter: true },
      ),
    );
  }
  if (injection) content.push(injectionReport(injection));
  section("failures", "Failures", content);
}

function injectionReport({ summary = {}, faults = [] }) {
  const list = (by) =>
    Object.entries(by || {})
      .map(([name, number]) => `${count(number)} ${name}`)
      .join(", ") || null;
  return element(
    "div",
    {},
    element("h3", { text: "Injected faults" }),
    facts([
      ["Attempts that carried one", count(summary.total)],
      ["Acted out", count(summary.acted)],
      ["By type", list(summary.by_type)],
      ["What became of them", list(summary.by_fate)],
      [
        "Bystanders",
        count(summary.bystanders),
        "Attempts that were lost with a worker for the fault of another",
      ],
      ["Time lost", duration(summary.time_lost_s)],
    ]),
    table(
      "faults",
      [
        { title: "Task", get: (fault) => fault.task_id, number: true },
        { title: "Name", get: (fault) => fault.name },
        { title: "Attempt", get: (fault) => fault.attempt, number: true },
        { title: "Type", get: (fault) => fault.type },
        { title: "Point", get: (fault) => fault.point },
        { title: "Worker", get: (fault) => fault.worker, number: true },
        { title: "Acted", get: (fault) => (fault.acted ? "yes" : "no") },
        { title: "Outcome", get: (fault) => fault.outcome },
        {
          title: "Fate",
          get: (fault) => fault.fate,
          show: (fate) =>
            element("span", {
              class: ["propagated", "silent", "unfinished"].includes(fate) ? "bad" : null,
              text: fate,
            }),
        },
        { title: "Time lost", get: (fault) => fault.time_lost_s, show: duration, number: true },
      ],
      faults,
      { caption: "Injected faults", filter: faults.length > 20 },
    ),
  );
}
