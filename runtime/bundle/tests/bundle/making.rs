//! Bundles to test with, and archives that no sound writer makes.

use serde_json::{Value, json};
use std::{borrow::Cow, path::Path};
use taps_bundle::{
    ArchiveLimits, Bundle, BundleError, ComponentEntry, DataEntry, Digest, Expected, Instances,
    Manifest, Packing, Source, TaskRoute,
};
use taps_schema::{AppDescription, WIT_VERSION};
use tar::{EntryType, Header};

/// A component that imports and exports instances of these names, and has this much data.
pub(crate) fn component(imports: &[&str], exports: &[&str], data: usize) -> Vec<u8> {
    let imports = imports
        .iter()
        .map(|name| format!("(import \"{name}\" (instance))"));
    let exports = exports
        .iter()
        .map(|name| format!("(export \"{name}\" (instance $empty))"));
    let imports = imports.collect::<Vec<_>>().join("\n");
    let exports = exports.collect::<Vec<_>>().join("\n");
    let data = "x".repeat(data);
    let text = format!(
        "(component {imports}
           (core module $module (memory 1) (table 1 funcref) (data (i32.const 0) \"{data}\"))
           (core instance (instantiate $module))
           (instance $empty)
           {exports})"
    );
    wat::parse_str(text).expect("sound text")
}

/// The component of a driver.
pub(crate) fn driver() -> Vec<u8> {
    component(
        &["taps:core/engine@0.1.0", "taps:core/payloads@0.1.0"],
        &["taps:core/description@0.1.0", "taps:core/driver@0.1.0"],
        100,
    )
}

/// The component of tasks.
pub(crate) fn tasks() -> Vec<u8> {
    component(
        &["taps:core/kernels@0.1.0", "taps:core/payloads@0.1.0"],
        &["taps:core/tasks@0.1.0"],
        2000,
    )
}

/// What the app says of itself.
pub(crate) fn app() -> AppDescription {
    let app = json!({
        "name": "word-count",
        "version": "1.2.3",
        "wit_version": WIT_VERSION,
        "summary": "Counts words.",
        "driver": true,
        "config": [
            { "name": "words", "kind": { "type": "input-file" }, "help": "Words.", "optional": true },
            { "name": "top", "kind": { "type": "integer", "min": 0 }, "help": "How many.", "default": 10 },
        ],
        "tasks": [
            { "name": "count", "parameters": [["text", "&str"]], "outputs": ["u64"], "pure": true, "grants": ["words"] },
            { "name": "sort", "programs": ["sort"] },
        ],
        "programs": [{ "name": "sort", "help": "Sorts.", "install": "It is everywhere." }],
    });
    serde_json::from_value(app).expect("a description")
}

/// The manifest of two components, two blobs of data, and everything else that a manifest can have.
pub(crate) fn manifest(parts: &[Vec<u8>], words: &[u8]) -> Manifest {
    let names = ["word-count.wasm", "word-count-tasks.wasm"];
    let entries = names
        .iter()
        .zip(parts)
        .map(|(name, bytes)| ComponentEntry::of(name, bytes).expect("a component"));
    let routes = [0, 1].map(|task| TaskRoute { component: 1, task });
    let mut manifest = Manifest::new(app(), entries.collect(), routes.to_vec());
    manifest.components[1].instances = Some(Instances::Prewarmed);
    manifest.capabilities.memory_limit = Some("512 MiB".to_owned());
    manifest.capabilities.wall_limit_s = Some(60);
    manifest.defaults = object(&json!({ "words": "bundle:texts/words.txt", "top": 3 }));
    manifest.data = vec![
        DataEntry {
            name: "texts/words.txt".to_owned(),
            digest: Digest::of(words),
            size: words.len() as u64,
            media_type: "text/plain".to_owned(),
            url: None,
        },
        DataEntry {
            name: "texts/more.txt".to_owned(),
            digest: Digest::of(b"more"),
            size: 4,
            media_type: "text/plain".to_owned(),
            url: Some("https://example.org/more.txt".to_owned()),
        },
    ];
    manifest.expected = vec![Expected {
        config: object(&json!({ "top": 5 })),
        values: [("words".to_owned(), json!(7))].into(),
    }];
    manifest.licence = Some("MIT".to_owned());
    manifest.sources = Some("https://example.org/word-count".to_owned());
    manifest
}

fn object(value: &Value) -> serde_json::Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// A bundle with everything that a bundle can have.
pub(crate) fn bundle() -> Bundle {
    bundle_with(b"one two three\n")
}

/// The same, with these bytes of data.
pub(crate) fn bundle_with(words: &[u8]) -> Bundle {
    let parts = [driver(), tasks()];
    let manifest = manifest(&parts, words);
    let components = parts.map(Cow::Owned).to_vec();
    let data = vec![Cow::Owned(words.to_vec())];
    Bundle::with_data(manifest, components, data, Source::Embedded).expect("a sound bundle")
}

/// A bundle as an archive.
pub(crate) fn packed(bundle: &Bundle, packing: Packing) -> Vec<u8> {
    let mut archive = Vec::new();
    bundle.pack(&mut archive, packing).expect("packed");
    archive
}

/// Reads an archive with the limits of the program.
pub(crate) fn read(archive: &[u8]) -> Result<Bundle, BundleError> {
    Bundle::read_archive(archive, &ArchiveLimits::default())
}

/// What is said when an archive is refused, with all causes.
#[track_caller]
pub(crate) fn refused(archive: &[u8]) -> String {
    said(&read(archive).expect_err("refused"))
}

/// An error with its causes.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// An entry of a tar archive, as plain as can be.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: EntryType,
    pub(crate) link: String,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    pub(crate) fn file(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            kind: EntryType::Regular,
            link: String::new(),
            bytes: bytes.into(),
        }
    }

    pub(crate) fn other(name: &str, kind: EntryType, link: &str) -> Self {
        Self {
            kind,
            link: link.to_owned(),
            ..Self::file(name, [])
        }
    }
}

/// The header of an entry, with whatever name, link and size.
pub(crate) fn header(entry: &Entry, size: u64) -> Header {
    let mut header = Header::new_ustar();
    let fields = header.as_old_mut();
    // The setters of the crate refuse what is tested here.
    fields.name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
    fields.linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
    header.set_entry_type(entry.kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

/// A tar archive of these entries, with its end mark.
pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        archive.extend_from_slice(header(entry, entry.bytes.len() as u64).as_bytes());
        archive.extend_from_slice(&entry.bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// The entries of an archive that is not compressed.
pub(crate) fn entries(archive: &[u8]) -> Vec<Entry> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("its bytes");
        Entry::file(name, bytes)
    });
    entries.collect()
}

/// The archive of a layout that is put together by hand, so that nothing is checked: a manifest, and what follows it:
/// (title, media type, bytes). Components have `application/wasm`.
pub(crate) fn archive_of(manifest: &[u8], parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut blobs: Vec<Vec<u8>> = vec![b"{}".to_vec()];
    let mut add = |bytes: &[u8]| {
        if !blobs.iter().any(|known| known == bytes) {
            blobs.push(bytes.to_vec());
        }
    };
    let described = |kind: &str, bytes: &[u8], title: &str| {
        let mut descriptor = json!({
            "mediaType": kind,
            "digest": Digest::of(bytes).to_string(),
            "size": bytes.len(),
        });
        if !title.is_empty() {
            descriptor["annotations"] = json!({ "org.opencontainers.image.title": title });
        }
        descriptor
    };
    let image = "application/vnd.oci.image.manifest.v1+json";
    let empty = "application/vnd.oci.empty.v1+json";
    let own = "application/vnd.taps-wasm.manifest.v1+json";
    let mut manifests = Vec::new();
    let all = [("manifest.json", own, manifest)];
    for (title, kind, bytes) in all.iter().chain(parts) {
        add(bytes);
        let config = if *kind == "application/wasm" {
            let config = json!({
                "created": "1970-01-01T00:00:00Z",
                "architecture": "wasm",
                "os": "wasip2",
                "layerDigests": [Digest::of(bytes).to_string()],
            });
            let config = config.to_string().into_bytes();
            add(&config);
            described("application/vnd.wasm.config.v0+json", &config, "")
        } else {
            described(empty, b"{}", "")
        };
        let document = json!({
            "schemaVersion": 2,
            "mediaType": image,
            "config": config,
            "layers": [described(kind, bytes, title)],
        });
        let document = document.to_string().into_bytes();
        add(&document);
        manifests.push(described(image, &document, title));
    }
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({
        "schemaVersion": 2,
        "mediaType": index_type,
        "artifactType": "application/vnd.taps-wasm.bundle.v1+json",
        "manifests": manifests,
    });
    let index = index.to_string().into_bytes();
    let top = json!({ "schemaVersion": 2, "manifests": [described(index_type, &index, "")] });
    blobs.push(index);
    let mut entries = vec![
        Entry::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        Entry::file("index.json", top.to_string()),
    ];
    for blob in blobs {
        let name = format!("blobs/sha256/{}", Digest::of(&blob).to_hex());
        entries.push(Entry::file(name, blob));
    }
    tar(&entries)
}

/// The archive of [`bundle`], put together by hand, with another manifest.
pub(crate) fn archive_with(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let words = b"one two three\n";
    let parts = [driver(), tasks()];
    let text = manifest(&parts, words).to_json();
    let mut changed: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut changed);
    archive_of(
        changed.to_string().as_bytes(),
        &[
            ("word-count.wasm", "application/wasm", &parts[0]),
            ("word-count-tasks.wasm", "application/wasm", &parts[1]),
            ("texts/words.txt", "text/plain", words),
        ],
    )
}

/// A file beside these tests.
pub(crate) fn fixture(name: &str) -> String {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read_to_string(place.join(name)).expect("a fixture")
}
