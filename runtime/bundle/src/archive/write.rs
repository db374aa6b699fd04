//! Writing an archive.

use super::{BLOBS, BLOCK, INDEX_FILE, LAYOUT_FILE, Packing};
use crate::{
    Layout,
    oci::{self, Index, LayoutFile},
};
use std::io::{self, Write};
use tar::{EntryType, Header};
use zstd::zstd_safe::CParameter;

/// Level of compression: 17 % smaller than level 12, at the price of seconds for megabytes.
const LEVEL: i32 = 19;

pub(super) fn archive(
    layout: &Layout<'_>,
    version: &str,
    mut out: impl Write,
    packing: Packing,
) -> io::Result<()> {
    let files = files(layout, version);
    match packing {
        Packing::Plain => {
            tar(&files, &mut out)?;
            out.flush()
        }
        Packing::Zstd => {
            let size = files
                .iter()
                .map(|(_, bytes)| stored(bytes.len()))
                .sum::<u64>();
            let mut encoder = zstd::Encoder::new(out, LEVEL)?;
            // The window is as large as the content up to 128 MiB: two components share much of their code.
            encoder.set_parameter(CParameter::WindowLog(27))?;
            encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
            encoder.include_checksum(true)?;
            encoder.set_pledged_src_size(Some(size + 2 * BLOCK as u64))?;
            tar(&files, &mut encoder)?;
            encoder.finish()?.flush()
        }
    }
}

/// The files of an archive, in order.
fn files<'a>(layout: &'a Layout<'_>, version: &str) -> Vec<(String, std::borrow::Cow<'a, [u8]>)> {
    let marker = oci::document(&LayoutFile {
        image_layout_version: oci::LAYOUT_VERSION.to_owned(),
    });
    let mut descriptor = layout.index.descriptor.clone();
    descriptor
        .annotations
        .insert(oci::REF_NAME.to_owned(), version.to_owned());
    let index = oci::document(&Index {
        schema_version: 2,
        media_type: Some(oci::INDEX.to_owned()),
        artifact_type: None,
        manifests: vec![descriptor],
        annotations: oci::Annotations::new(),
    });
    let mut files = vec![
        (LAYOUT_FILE.to_owned(), marker.into()),
        (INDEX_FILE.to_owned(), index.into()),
    ];
    for blob in layout.by_reference() {
        let name = format!("{BLOBS}{}", blob.descriptor.digest.to_hex());
        files.push((name, blob.bytes.as_ref().into()));
    }
    files
}

/// Bytes that a file takes up in an archive.
fn stored(length: usize) -> u64 {
    (BLOCK + length.next_multiple_of(BLOCK)) as u64
}

fn tar(files: &[(String, std::borrow::Cow<'_, [u8]>)], out: &mut impl Write) -> io::Result<()> {
    for (name, bytes) in files {
        out.write_all(header(name, bytes.len() as u64)?.as_bytes())?;
        out.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        out.write_all(&[0; BLOCK][..padding])?;
    }
    out.write_all(&[0; 2 * BLOCK])
}

/// The same header for the same file, whoever writes it and when.
fn header(name: &str, size: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}
