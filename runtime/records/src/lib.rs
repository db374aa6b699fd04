//! Event log, records and run directory.
