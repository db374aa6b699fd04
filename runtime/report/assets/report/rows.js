"use strict";
// The page of a run.

const { run, counts, time, timeline, names, attempts } = model;
const elapsed = run ? run.elapsed_s : 0;
const extent = [0, elapsed > 0 ? elapsed : 1];
const sampled = attempts.one_of > 1;

// ---- What the attempts are, row by row

const STILL_OPEN = 2;
const rows = attempts.task.map((task, at) => ({ at, task }));
const column = (name) => (row) => attempts[name][row.at];
const outcomeOf = (row) => attempts.outcomes[attempts.outcome[row.at]];
const nameOf = (row) => names[attempts.name[row.at]];
const faultOf = (row) => (isKnown(attempts.fault[row.at]) ? attempts.faults[attempts.fault[row.at]] : null);
const isFailed = (row) => outcomeOf(row) !== "ok" && outcomeOf(row) !== "open";
const beginOf = (row) => attempts.received[row.at] ?? attempts.dispatched[row.at];
const endOf = (row) =>
  attempts.last[row.at] === STILL_OPEN ? elapsed : (attempts.finished[row.at] ?? attempts.known[row.at]);
const spent = (from, to) => (isKnown(from) && isKnown(to) ? Math.max(0, to - from) : null);

function head() {
  const good = { finished: "good", "going-on": "warn", interrupted: "warn" };
  const state = run ? run.state : "unreadable";
  const parent = document.getElementById("head");
  parent.append(element("h1", { text: run ? `${run.app} on ${run.executor}` : model.path }));
  parent.append(
    element(
      "p",
      {},
      element("span", { class: `state ${good[state] || "bad"}`, text: state }),
      " ",
      element("span", {
        class: "muted",
        text: [
          model.path,
          run && `began ${new Date(run.start_unix_s * 1e3).toISOString().replace("T", " ").slice(0, 19)} UTC`,
          run && run.host,
        ]
          .filter(Boolean)
          .join(" · "),
      }),
    ),
  );
  if (run && run.error) parent.append(element("p", { class: "bad", text: run.error }));
  if (model.notes.length) {
    parent.append(
      element(
        "div",
        { class: "notes", role: "note", "aria-label": "What to know of these records" },
        element(
          "ul",
          {},
          model.notes.map((note) => element("li", { text: note })),
        ),
      ),
    );
  }
  if (!run) return;
  const makespan = run.makespan_s;
  const busy = time.slot_s - time.idle_s;
  parent.append(
    facts([
      ["Makespan", duration(makespan), "From the first submission to the end of the last task"],
      ["Tasks that succeeded", `${count(counts.succeeded)} of ${count(counts.submitted)}`],
      [
        "Rate",
        makespan > 0 ? `${digits(counts.succeeded / makespan)} tasks/s` : "–",
        "Tasks that succeeded, by the makespan",
      ],
      ["Slots", count(run.slots)],
      ["Slots busy", percent(busy / time.slot_s), "Time of attempts on workers, by wall time times slots"],
      ["Failed", counts.failed ? element("span", { class: "bad", text: count(counts.failed) }) : "0"],
      [
        "Failed because of them",
        counts.upstream_failed
          ? element("span", { class: "bad", text: count(counts.upstream_failed) })
          : null,
      ],
      ["Attempts repeated", count(counts.retried + counts.recomputed)],
      ["Workers lost", count(counts.workers_lost)],
      [
        "Longest chain",
        duration(model.critical_path_s),
        "The chain of dependent tasks that ran longest: no number of workers is faster",
      ],
      ["Cancelled", counts.cancelled ? count(counts.cancelled) : null],
      ["Open", counts.open ? count(counts.open) : null],
      ["From an earlier run", counts.memoized ? count(counts.memoized) : null],
      ["Seed", String(run.seed)],
      ["Exit code", isKnown(run.exit_code) ? String(run.exit_code) : "none"],
    ]),
  );
}
