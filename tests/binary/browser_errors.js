// Put before everything else of a page under test: what goes wrong from the first moment on.
const problems = [];
addEventListener("error", (event) => problems.push(`error: ${event.message}`));
addEventListener("unhandledrejection", (event) => problems.push(`rejection: ${event.reason}`));
addEventListener("securitypolicyviolation", (event) =>
  problems.push(`policy: ${event.violatedDirective} ${event.blockedURI}`),
);
for (const level of ["error", "warn"])
  console[level] = (...words) => problems.push(`${level}: ${words.join(" ")}`);
