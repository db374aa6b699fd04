//! Bundles of other versions: what was written before is read, what is written now is read by a reader that is
//! frozen here, and what comes later is refused with the reason.

use crate::making::{archive_of, archive_with, bundle, fixture, packed, read, refused};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, io::Read as _, path::Path};
use taps_bundle::{Bundle, Digest, Instances, MANIFEST_FORMAT, Manifest, MemoryProfile, Packing};

/// A directory of a manifest that is checked in, and the components that it names, which are there as text.
fn directory(manifest: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let put = |name: &str, bytes: &[u8]| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("create");
        fs::write(path, bytes).expect("write");
    };
    put("manifest.json", fixture(manifest).as_bytes());
    for name in ["word-count.wasm", "word-count-tasks.wasm"] {
        let digits: String = fixture(&format!("{name}.hex")).split_whitespace().collect();
        put(name, &hex::decode(digits).expect("hexadecimal digits"));
    }
    put("data/texts/words.txt", b"one two three\n");
    place
}

/// What every version makes of the fixtures.
fn check(bundle: &Bundle) {
    let manifest = bundle.manifest();
    assert_eq!(manifest.format, MANIFEST_FORMAT);
    assert_eq!(manifest.app.name, "word-count");
    assert_eq!(manifest.app.tasks[0].name, "count");
    assert_eq!(manifest.routes[1].component, 1);
    assert_eq!(manifest.components[0].memory, MemoryProfile::Copy);
    assert_eq!(
        manifest.components[1].imports,
        ["taps:core/kernels@0.1.0", "taps:core/payloads@0.1.0"]
    );
    assert_eq!(manifest.components[1].core_instances, 1);
    assert_eq!(manifest.capabilities.programs, ["sort"]);
    assert_eq!(manifest.capabilities.directories, ["words"]);
    assert!(manifest.capabilities.kernels);
}

#[test]
fn a_directory_of_format_1_is_read() {
    let place = directory("manifest-1.json");
    let found = Bundle::from_directory(place.path()).expect("readable");
    check(&found);
    assert!(found.manifest().data.is_empty());
    // It can be sent on as a bundle of today.
    check(&read(&packed(&found, Packing::Zstd)).expect("sound"));
}

#[test]
fn a_directory_of_format_2_is_read() {
    let place = directory("manifest-2.json");
    let found = Bundle::from_directory(place.path()).expect("readable");
    check(&found);
    let manifest = found.manifest();
    assert_eq!(manifest.components[1].instances, Some(Instances::Prewarmed));
    assert_eq!(manifest.defaults["top"], 3);
    assert_eq!(
        manifest.data[1].url.as_deref(),
        Some("https://example.org/more.txt")
    );
    assert_eq!(manifest.expected[0].values["words"], 7);
    assert_eq!(manifest.licence.as_deref(), Some("MIT"));
    assert_eq!(found.data("texts/words.txt"), Some(&b"one two three\n"[..]));
}

/// Signatures, consent and records name bundles by digest: it must be the same in every version.
#[test]
fn the_digest_of_a_bundle_never_changes() {
    let place = directory("manifest-2.json");
    let found = Bundle::from_directory(place.path()).expect("readable");
    assert_eq!(found.digest().to_string(), fixture("digest-2.txt").trim());
}

/// A manifest is written as it was read, byte for byte.
#[test]
fn manifests_are_written_in_one_way() {
    let text = fixture("manifest-2.json");
    let manifest = Manifest::from_json(text.as_bytes(), Path::new("x")).expect("readable");
    assert_eq!(manifest.to_json(), text);
}

#[test]
fn fields_of_later_versions_are_ignored() {
    let archive = archive_with(|manifest| {
        manifest["colour"] = "blue".into();
        manifest["components"][0]["colour"] = "red".into();
        manifest["capabilities"]["telepathy"] = false.into();
        manifest["app"]["tasks"][0]["colour"] = 7.into();
    });
    assert_eq!(read(&archive).expect("readable").app().name, "word-count");
}

#[test]
fn later_formats_are_refused_naming_both() {
    for format in [0, 3, 4_000_000_000_u64] {
        let message = refused(&archive_with(|manifest| manifest["format"] = format.into()));
        let expected = format!("has manifest format {format}; this version reads formats 1 to 2");
        assert!(message.contains(&expected), "{message}");
        assert_eq!(
            message.contains("update taps-wasm"),
            format > 2,
            "{message}"
        );
    }
    // Whatever else is in them.
    let future = br#"{"format": 3, "components": "elsewhere"}"#;
    let message = refused(&archive_of(future, &[]));
    assert!(message.contains("format 3"), "{message}");
    let message = refused(&archive_with(|manifest| manifest["format"] = 1.into()));
    assert!(message.contains("format 1 is for directories"), "{message}");
}

#[test]
fn features_that_are_not_known_are_refused() {
    let archive = archive_with(|manifest| manifest["requires"] = vec!["teleport"].into());
    let message = refused(&archive);
    assert!(
        message.contains("`teleport`") && message.contains("update taps-wasm"),
        "{message}"
    );
    read(&archive_with(|manifest| {
        manifest["requires"] = Vec::<String>::new().into();
    }))
    .expect("nothing is required");
}

#[test]
fn layouts_of_another_version_are_refused() {
    let mut entries = crate::making::entries(&packed(&bundle(), Packing::Plain));
    entries[0].bytes = br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec();
    let message = refused(&crate::making::tar(&entries));
    assert!(
        message.contains("version `2.0.0`") && message.contains("`1.0.0`"),
        "{message}"
    );
}

/// A reader of format 2 as it was when that format began. It must never be changed: what is written now has to be
/// readable by it as long as the format is 2.
mod frozen {
    use super::{BTreeMap, Deserialize, Digest};

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Descriptor {
        pub(super) media_type: String,
        pub(super) digest: String,
        pub(super) size: u64,
        #[serde(default)]
        pub(super) annotations: BTreeMap<String, String>,
    }

    #[derive(Deserialize)]
    pub(super) struct Index {
        pub(super) manifests: Vec<Descriptor>,
    }

    #[derive(Deserialize)]
    pub(super) struct Image {
        pub(super) config: Descriptor,
        pub(super) layers: Vec<Descriptor>,
    }

    #[derive(Deserialize)]
    pub(super) struct Manifest {
        pub(super) format: u32,
        pub(super) app: App,
        pub(super) components: Vec<Component>,
        pub(super) routes: Vec<Route>,
        pub(super) capabilities: Capabilities,
        pub(super) defaults: BTreeMap<String, serde_json::Value>,
        pub(super) data: Vec<Data>,
        pub(super) expected: Vec<Expected>,
        pub(super) licence: String,
        pub(super) sources: String,
    }

    #[derive(Deserialize)]
    pub(super) struct App {
        pub(super) name: String,
        pub(super) version: String,
        pub(super) wit_version: String,
        pub(super) tasks: Vec<Task>,
    }

    #[derive(Deserialize)]
    pub(super) struct Task {
        pub(super) name: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Component {
        pub(super) file: String,
        pub(super) digest: String,
        pub(super) size: u64,
        pub(super) imports: Vec<String>,
        pub(super) instances: Option<String>,
        pub(super) memory: String,
        pub(super) core_instances: u32,
        pub(super) memories: u32,
        pub(super) tables: u32,
    }

    #[derive(Deserialize)]
    pub(super) struct Route {
        pub(super) component: u32,
        pub(super) task: u32,
    }

    #[derive(Deserialize)]
    pub(super) struct Capabilities {
        pub(super) programs: Vec<String>,
        pub(super) kernels: bool,
        pub(super) directories: Vec<String>,
        pub(super) network: bool,
        pub(super) memory_limit: String,
        pub(super) wall_limit_s: u64,
    }

    #[derive(Deserialize)]
    pub(super) struct Data {
        pub(super) name: String,
        pub(super) digest: String,
        pub(super) size: u64,
        pub(super) media_type: String,
        pub(super) url: Option<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct Expected {
        pub(super) config: BTreeMap<String, serde_json::Value>,
        pub(super) values: BTreeMap<String, serde_json::Value>,
    }

    /// The bytes of a blob, checked.
    pub(super) fn blob<'a>(
        files: &'a BTreeMap<String, Vec<u8>>,
        descriptor: &Descriptor,
    ) -> &'a [u8] {
        let digits = descriptor.digest.strip_prefix("sha256:").expect("SHA-256");
        let bytes = &files[&format!("blobs/sha256/{digits}")];
        assert_eq!(Digest::of(bytes).to_string(), descriptor.digest);
        assert_eq!(bytes.len() as u64, descriptor.size);
        bytes
    }
}

#[test]
fn a_frozen_reader_reads_what_is_written_now() {
    let written = bundle();
    let archive = packed(&written, Packing::Zstd);
    let mut tar = Vec::new();
    zstd::Decoder::new(archive.as_slice())
        .and_then(|mut decoder| decoder.read_to_end(&mut tar))
        .expect("zstd");
    let files = crate::making::entries(&tar);
    let files: BTreeMap<String, Vec<u8>> = files
        .into_iter()
        .map(|entry| (entry.name, entry.bytes))
        .collect();
    let layout: serde_json::Value = serde_json::from_slice(&files["oci-layout"]).expect("JSON");
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
    let top: frozen::Index = serde_json::from_slice(&files["index.json"]).expect("JSON");
    assert_eq!(top.manifests.len(), 1);
    let annotations = &top.manifests[0].annotations;
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "1.2.3");
    assert_eq!(
        top.manifests[0].media_type,
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(top.manifests[0].digest, written.digest().to_string());
    let index = frozen::blob(&files, &top.manifests[0]);
    let index: frozen::Index = serde_json::from_slice(index).expect("JSON");
    let image = |descriptor: &frozen::Descriptor| -> frozen::Image {
        assert_eq!(
            descriptor.media_type,
            "application/vnd.oci.image.manifest.v1+json"
        );
        serde_json::from_slice(frozen::blob(&files, descriptor)).expect("JSON")
    };
    let images: Vec<frozen::Image> = index.manifests.iter().map(image).collect();
    assert_eq!(images.len(), 4);
    let layer = &images[0].layers[0];
    assert_eq!(
        layer.media_type,
        "application/vnd.taps-wasm.manifest.v1+json"
    );
    assert_eq!(
        images[0].config.media_type,
        "application/vnd.oci.empty.v1+json"
    );
    let manifest: frozen::Manifest =
        serde_json::from_slice(frozen::blob(&files, layer)).expect("JSON");
    read_by_the_frozen(&manifest);
    for (image, component) in images[1..3].iter().zip(&manifest.components) {
        assert_eq!(
            image.config.media_type,
            "application/vnd.wasm.config.v0+json"
        );
        assert_eq!(image.layers[0].media_type, "application/wasm");
        assert_eq!(image.layers[0].digest, component.digest);
        assert_eq!(image.layers[0].size, component.size);
        let title = &image.layers[0].annotations["org.opencontainers.image.title"];
        assert_eq!(title, &component.file);
        let config: serde_json::Value =
            serde_json::from_slice(frozen::blob(&files, &image.config)).expect("JSON");
        assert_eq!(config["os"], "wasip2");
        assert_eq!(config["architecture"], "wasm");
        assert_eq!(config["layerDigests"][0], component.digest);
    }
    let data = &manifest.data[0];
    assert_eq!(images[3].layers[0].media_type, data.media_type);
    assert_eq!(images[3].layers[0].digest, data.digest);
    assert_eq!(
        frozen::blob(&files, &images[3].layers[0]),
        b"one two three\n"
    );
}

fn read_by_the_frozen(manifest: &frozen::Manifest) {
    assert_eq!(manifest.format, 2);
    assert_eq!(manifest.app.name, "word-count");
    assert_eq!(manifest.app.version, "1.2.3");
    assert_eq!(manifest.app.wit_version, "0.1.0");
    assert_eq!(manifest.app.tasks[1].name, "sort");
    assert_eq!(
        (manifest.routes[1].component, manifest.routes[1].task),
        (1, 1)
    );
    let tasks = &manifest.components[1];
    assert_eq!(
        tasks.imports,
        ["taps:core/kernels@0.1.0", "taps:core/payloads@0.1.0"]
    );
    assert_eq!(tasks.instances.as_deref(), Some("prewarmed"));
    assert_eq!(tasks.memory, "auto");
    assert_eq!(
        (tasks.core_instances, tasks.memories, tasks.tables),
        (1, 1, 1)
    );
    let may = &manifest.capabilities;
    assert_eq!(
        (may.programs.as_slice(), may.kernels),
        (&["sort".to_owned()][..], true)
    );
    assert_eq!(
        (may.directories.as_slice(), may.network),
        (&["words".to_owned()][..], false)
    );
    assert_eq!(
        (may.memory_limit.as_str(), may.wall_limit_s),
        ("512 MiB", 60)
    );
    assert_eq!(manifest.defaults["top"], 3);
    assert_eq!(manifest.data[0].name, "texts/words.txt");
    assert_eq!(manifest.data[0].size, 14);
    assert_eq!(manifest.data[0].url, None);
    assert_eq!(
        manifest.data[1].url.as_deref(),
        Some("https://example.org/more.txt")
    );
    assert_eq!(manifest.expected[0].config["top"], 5);
    assert_eq!(manifest.expected[0].values["words"], 7);
    assert_eq!(manifest.licence, "MIT");
    assert_eq!(manifest.sources, "https://example.org/word-count");
}
