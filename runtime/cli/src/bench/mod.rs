//! `bench`: figures of this machine, by running the built-in apps.

mod data;
mod plot;

use crate::{
    arguments::Bench,
    exit::{ExitCode, Failure},
};

pub(crate) use data::DataArgs;

pub(crate) fn command(what: &Bench) -> Result<ExitCode, Failure> {
    match what {
        Bench::Data(args) => data::run(args),
    }
}
