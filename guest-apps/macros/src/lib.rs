//! Derive and attribute macros of the taps guest SDK.
