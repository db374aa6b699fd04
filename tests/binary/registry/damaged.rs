//! A registry that gives other bytes than were pushed.

use super::{
    User,
    server::{Access, Registry},
    snapshot,
};
use serde_json::Value;
use std::fs;

/// A registry with `apps/mapreduce:1`, and the digests of its parts by what they are.
struct Pushed {
    registry: Registry,
    bundle: String,
    /// The image manifest of the first component.
    manifest: String,
    /// The first component.
    component: String,
}

impl Pushed {
    fn new() -> Option<Self> {
        let registry = Registry::start(&Access::Open)?;
        let bundle = User::new().push(&registry.reference("apps/mapreduce:1"));
        let document = |digest: &str| -> Value {
            let text = fs::read(registry.blob(digest)).expect("it is there");
            serde_json::from_slice(&text).expect("JSON")
        };
        let digest = |value: &Value| super::text(&value["digest"]);
        let manifest = digest(&document(&bundle)["manifests"][1]);
        let component = digest(&document(&manifest)["layers"][0]);
        Some(Self {
            registry,
            bundle,
            manifest,
            component,
        })
    }

    /// Changes what the registry has of a digest, and pulls.
    fn pull_changed(&self, digest: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let path = self.registry.blob(digest);
        let mut bytes = fs::read(&path).expect("it is there");
        change(&mut bytes);
        fs::write(&path, bytes).expect("it is the test's");
        let user = User::new();
        let refused = user.call(&[
            "bundle",
            "pull",
            &self.registry.reference("apps/mapreduce:1"),
        ]);
        refused.expect(4).says(digest);
        assert_eq!(user.kept(), Vec::<String>::new(), "nothing of it is kept");
        refused.text()
    }
}

fn change_a_byte(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

#[test]
fn a_component_with_a_changed_byte() {
    let Some(pushed) = Pushed::new() else { return };
    let said = pushed.pull_changed(&pushed.component, |bytes| change_a_byte(bytes));
    snapshot!(said);
}

#[test]
fn a_component_that_is_cut_short() {
    let Some(pushed) = Pushed::new() else { return };
    let said = pushed.pull_changed(&pushed.component, |bytes| bytes.truncate(1000));
    snapshot!(said);
}

#[test]
fn a_component_that_goes_on() {
    let Some(pushed) = Pushed::new() else { return };
    let said = pushed.pull_changed(&pushed.component, |bytes| {
        bytes.resize(bytes.len() + 100_000, 0);
    });
    snapshot!(said);
}

#[test]
fn an_index_with_a_changed_byte() {
    let Some(pushed) = Pushed::new() else { return };
    let said = pushed.pull_changed(&pushed.bundle, |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).expect("JSON");
        *bytes = text.replacen("mapreduce", "mapreducf", 1).into_bytes();
    });
    snapshot!(said);
}

#[test]
fn a_manifest_with_a_changed_byte() {
    let Some(pushed) = Pushed::new() else { return };
    let said = pushed.pull_changed(&pushed.manifest, |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).expect("JSON");
        *bytes = text.replacen("mapreduce", "mapreducf", 1).into_bytes();
    });
    snapshot!(said);
}

#[test]
fn a_component_that_is_gone() {
    let Some(pushed) = Pushed::new() else { return };
    fs::remove_file(pushed.registry.blob(&pushed.component)).expect("it is there");
    let reference = pushed.registry.reference("apps/mapreduce:1");
    let refused = User::new().call(&["bundle", "pull", &reference]);
    snapshot!(refused.expect(4).text());
}
