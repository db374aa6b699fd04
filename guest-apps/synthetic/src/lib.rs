//! The synthetic app.
