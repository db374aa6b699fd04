//! The mapreduce app.
