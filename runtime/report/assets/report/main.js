// ---- Configuration and environment

function tree(value) {
  if (value === null) return document.createTextNode("not set");
  if (typeof value !== "object") return document.createTextNode(String(value));
  const entries = Object.entries(value);
  if (!entries.length) return document.createTextNode("none");
  return element(
    "ul",
    { class: "tree" },
    entries.map(([key, inner]) => element("li", {}, element("strong", { text: `${key}: ` }), tree(inner))),
  );
}

function configurationSection() {
  section(
    "configuration",
    "Configuration and environment",
    element(
      "div",
      { class: "columns" },
      element(
        "div",
        {},
        element("h3", { text: "Configuration" }),
        isKnown(model.config)
          ? element("pre", { tabindex: "0", text: model.config })
          : paragraph("It is not known."),
      ),
      element(
        "div",
        {},
        element("h3", { text: "Environment" }),
        isKnown(model.environment) ? tree(model.environment) : paragraph("It is not known."),
        run && isKnown(run.report) && element("h3", { text: "What the app reported" }),
        run && isKnown(run.report) && tree(run.report),
      ),
    ),
  );
}

head();
if (run) {
  timeSection();
  overTime();
  ganttSection();
  tasksSection();
  flowSection();
  memorySection();
}
failuresSection();
graphSection();
configurationSection();
drawCharts();
