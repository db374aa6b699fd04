//! The cholesky app.
