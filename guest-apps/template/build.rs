//! Packs the sources of the guest SDK: what an app that is written elsewhere needs to build. Their
//! manifests say by themselves what the workspace says here, and the lock file names the versions of
//! crates with which the SDK was tested.

use flate2::{Compression, write::GzEncoder};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// The crates of the SDK, as folders from the root of the workspace. They keep their places.
const CRATES: [&str; 4] = [
    "guest-apps/macros",
    "guest-apps/sdk",
    "runtime/kernels",
    "runtime/schema",
];
/// What they need besides their sources.
const OTHERS: [&str; 3] = ["wit", "LICENSE-APACHE", "LICENSE-MIT"];

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here
        .ancestors()
        .find(|folder| folder.join("wit").is_dir())
        .expect("below the root of the workspace");
    let workspace = table(&root.join("Cargo.toml"));
    let workspace = workspace["workspace"].as_table().expect("a workspace");
    let mut files = BTreeMap::new();
    let mut manifests = Vec::new();
    for folder in CRATES {
        collect(root, &root.join(folder).join("src"), &mut files);
        let manifest = alone(&root.join(folder).join("Cargo.toml"), folder, workspace);
        files.insert(
            format!("{folder}/Cargo.toml"),
            toml::to_string(&manifest).expect("a table is TOML"),
        );
        manifests.push(manifest);
    }
    for other in OTHERS {
        collect(root, &root.join(other), &mut files);
    }
    let packed = serde_json::json!({
        "files": files,
        "lock": lock(&table(&root.join("Cargo.lock")), &manifests),
    });
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let file = fs::File::create(out.join("sdk.json.gz")).expect("make a file");
    let mut packer = GzEncoder::new(file, Compression::best());
    packer
        .write_all(packed.to_string().as_bytes())
        .and_then(|()| packer.finish())
        .expect("write the packed sources");
}

fn table(path: &Path) -> Table {
    rerun_if_changed(path);
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// Adds a file, or the files below a folder, by their paths from the root.
fn collect(root: &Path, path: &Path, files: &mut BTreeMap<String, String>) {
    rerun_if_changed(path);
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("list a folder") {
            collect(root, &entry.expect("an entry").path(), files);
        }
        return;
    }
    let name = path.strip_prefix(root).expect("below the root");
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    files.insert(name.to_str().expect("UTF-8").to_owned(), text);
}

/// The manifest of a crate with what it takes from the workspace filled in, and without what only its
/// own tests and lints need.
fn alone(path: &Path, folder: &str, workspace: &Table) -> Table {
    let mut manifest = table(path);
    manifest.remove("dev-dependencies");
    manifest.remove("lints");
    let package = manifest["package"].as_table_mut().expect("a package");
    let inherited = workspace["package"].as_table().expect("a table");
    for (key, value) in package.iter_mut() {
        let inherits = value
            .as_table()
            .is_some_and(|value| value.contains_key("workspace"));
        if inherits {
            *value = inherited[key].clone();
        }
    }
    let known = workspace["dependencies"].as_table().expect("a table");
    each_dependency(&mut manifest, &mut |name, value| {
        *value = dependency(name, value, folder, known);
    });
    manifest
}

/// Visits all dependencies of a manifest, those of targets, too.
fn each_dependency(manifest: &mut Table, visit: &mut dyn FnMut(&str, &mut Value)) {
    if let Some(Value::Table(dependencies)) = manifest.get_mut("dependencies") {
        for (name, value) in dependencies.iter_mut() {
            visit(name, value);
        }
    }
    if let Some(Value::Table(targets)) = manifest.get_mut("target") {
        for (_, target) in targets.iter_mut() {
            each_dependency(target.as_table_mut().expect("a table"), visit);
        }
    }
}

/// A dependency that names its version, or the path from `folder`, and all of its features.
fn dependency(name: &str, value: &Value, folder: &str, known: &Table) -> Value {
    let Some(own) = value.as_table().filter(|own| own.contains_key("workspace")) else {
        return value.clone();
    };
    let mut whole = match &known[name] {
        Value::Table(whole) => whole.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    if let Some(Value::String(path)) = whole.get_mut("path") {
        *path = format!("{}{path}", "../".repeat(folder.split('/').count()));
    }
    for (key, value) in own.iter().filter(|(key, _)| *key != "workspace") {
        match (whole.get_mut(key), value) {
            (Some(Value::Array(there)), Value::Array(more)) => there.extend(more.iter().cloned()),
            _ => drop(whole.insert(key.clone(), value.clone())),
        }
    }
    Value::Table(whole)
}

/// The part of the lock file that these crates need.
fn lock(whole: &Table, manifests: &[Table]) -> Vec<Table> {
    let packages: Vec<&Table> = whole["package"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_table)
        .collect();
    let mut wanted = BTreeSet::new();
    let mut next: Vec<usize> = Vec::new();
    let mut own = BTreeMap::new();
    for manifest in manifests {
        let mut manifest = manifest.clone();
        let name = manifest["package"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let mut needed = BTreeSet::new();
        each_dependency(&mut manifest, &mut |name, _| {
            needed.insert(name.to_owned());
        });
        next.extend(
            packages
                .iter()
                .position(|package| package["name"].as_str() == Some(&name)),
        );
        own.insert(name, needed);
    }
    while let Some(index) = next.pop() {
        if wanted.insert(index) {
            let needed = dependencies(packages[index], &own);
            next.extend(needed.iter().map(|named| find(&packages, named)));
        }
    }
    let kept = wanted.into_iter().map(|index| {
        let mut package = packages[index].clone();
        let needed = dependencies(packages[index], &own);
        if package.contains_key("dependencies") {
            let needed = needed.into_iter().map(Value::String).collect();
            package.insert("dependencies".to_owned(), Value::Array(needed));
        }
        package
    });
    kept.collect()
}

/// Dependencies of a package in the lock file; of a crate of ours, those that its manifest still has.
fn dependencies(package: &Table, own: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let name = package["name"].as_str().expect("a name");
    let listed = package.get("dependencies").and_then(Value::as_array);
    let named = listed.into_iter().flatten().filter_map(Value::as_str);
    named
        .filter(|named| {
            let dependency = named.split(' ').next().unwrap_or_default();
            own.get(name)
                .is_none_or(|needed| needed.contains(dependency))
        })
        .map(str::to_owned)
        .collect()
}

/// The package that the lock file means by `NAME`, or by `NAME VERSION` where there are several.
fn find(packages: &[&Table], named: &str) -> usize {
    let mut words = named.split(' ');
    let (name, version) = (words.next(), words.next());
    packages
        .iter()
        .position(|package| {
            package["name"].as_str() == name
                && (version.is_none() || package["version"].as_str() == version)
        })
        .unwrap_or_else(|| panic!("the lock file has no package `{named}`"))
}
