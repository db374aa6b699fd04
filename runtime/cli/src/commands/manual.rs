//! `completions` and `man`, from the definition of the command line.

use crate::apps;
use crate::arguments::documented;
use crate::exit::{ExitCode, Failure};
use crate::render;
use clap_complete::Shell;

pub(crate) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut command = documented(&apps::schema()?);
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "taps-wasm", &mut text);
    render::data(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::Ok)
}

pub(crate) fn man() -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    let mut command = documented(&apps::schema()?);
    command.build();
    render_page(&command, &mut text)?;
    for sub in command.get_subcommands() {
        render_page(sub, &mut text)?;
    }
    render::data(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::Ok)
}

fn render_page(command: &clap::Command, text: &mut Vec<u8>) -> Result<(), Failure> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    clap_mangen::Man::new(command.clone())
        .title(name)
        .render(text)
        .map_err(|error| Failure::new(ExitCode::Runtime, error))
}
