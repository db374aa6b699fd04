//! Drives the engine core: log, payloads, driver and executor of one run.
