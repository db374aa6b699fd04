//! Pages and tables of runs.
//!
//! [`read`] makes a [`Model`] of a run directory: small whatever the run was, as its event log streams by once
//! (and again for the faults). [`page`] writes it into one HTML file that needs nothing else. [`Comparison`] sets
//! runs side by side. What cannot be read of a run is named in [`Model::notes`] and what can be is shown.
//!
//! [`Ongoing`] makes a model of a run again and again while it goes on, for [`live_page`].
//!
//! [`stream`] passes the same records on to other views, without keeping them.
//!
//! This crate changes no run, and prints nothing.

mod collect;
mod compare;
mod facts;
mod histogram;
mod lineage;
mod model;
mod page;
mod read;
mod sample;
mod series;

pub use compare::{Comparison, Estimate, Group, Measured, Numbers, aligned, quoted, shown};
pub use facts::{Facts, Sink};
pub use model::{
    Attempts, Counts, FailureRow, Failures, Flow, Graph, Loss, Memory, Model, NameStatistics, Node,
    OpenRow, Phase, Run, TimeParts, Timeline, Travelled, Worker,
};
pub use page::{live_page, page};
pub use read::{Ongoing, ReportError, Streamed, Told, read, stream};
