//! Logs: written, read, damaged, followed, and what is made of them.

mod explain;
mod follow;
mod framing;
mod full_disk;
mod injection;
mod kill;
mod reopen;
mod resumed;
mod support;
mod tasks;
