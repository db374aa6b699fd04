//! One file over HTTP: `data fetch`, and the data of bundles that have an address for it.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    error::Error,
    io::{self, Write},
    time::Duration,
};

/// How long an address may take to answer, and to go on: offline ends with a message.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// Writes what is at an address, and no more than `most` bytes of it; shows how far it is on a terminal.
///
/// # Errors
/// The address and every cause, in one line.
pub(crate) fn download(url: &str, to: &mut impl Write, most: Option<u64>) -> io::Result<()> {
    let failed = |error: &(dyn Error + 'static)| {
        let causes = crate::exit::causes(error).join(": ");
        io::Error::other(format!("fetch {url}: {causes}"))
    };
    // Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let streamed = runtime.block_on(stream(url, to, most.unwrap_or(u64::MAX)));
    streamed.map_err(|error| failed(error.as_ref()))
}

async fn stream(url: &str, to: &mut impl Write, most: u64) -> Result<(), Box<dyn Error>> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .user_agent(concat!("taps-wasm/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let mut response = client.get(url).send().await?.error_for_status()?;
    // Hidden where stderr is no terminal.
    let progress = match response.content_length() {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::no_length(),
    };
    let template = "{msg} {bytes} of {total_bytes} ({bytes_per_sec})";
    progress.set_style(ProgressStyle::with_template(template)?);
    progress.set_message(url.to_owned());
    while let Some(piece) = response.chunk().await? {
        progress.inc(piece.len() as u64);
        if progress.position() > most {
            return Err(format!("it has more than the {most} bytes that are expected").into());
        }
        to.write_all(&piece)?;
    }
    progress.finish_and_clear();
    Ok(())
}
