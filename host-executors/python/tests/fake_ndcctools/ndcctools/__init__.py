"""A stand-in for the package `ndcctools` (cctools), which no package index that pip knows has. See `taskvine`."""
