//! `doctor` tells which engines an interpreter has, without one of them.

use super::script;
use crate::harness::{Place, Running, installed};
use serde_json::Value;

/// An interpreter in which an engine is as good as new, one is too old and one does not say what it is.
fn interpreter(place: &Place) -> Option<String> {
    if !installed(&["python3"]) {
        return None;
    }
    for (package, version) in [("distributed", "2031.1.0"), ("ray", "2.8.1")] {
        place.write(&format!("packages/{package}/__init__.py"), "1/0\n");
        let metadata = format!("Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n");
        place.write(
            &format!("packages/{package}-{version}.dist-info/METADATA"),
            metadata,
        );
    }
    place.write("packages/parsl/__init__.py", "1/0\n");
    // A folder here is no package.
    place.write("globus_compute_sdk/__init__.py", "");
    let text = "export PYTHONPATH=\"${0%/*}/packages\"\nexec python3 -S \"$@\"";
    let path = script(place, text);
    Some(path.to_str().expect("UTF-8").to_owned())
}

fn check<'a>(json: &'a Value, name: &str) -> &'a Value {
    let checks = json["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("nothing is said of {name}: {json}"))
}

#[test]
fn packages_that_are_there_old_or_missing() {
    let place = Place::new();
    let Some(python) = interpreter(&place) else {
        return;
    };
    let json = place
        .call(["doctor", "--json", "--python", &python])
        .expect(0)
        .json();
    assert_eq!(json["ok"], false, "{json}");
    for (name, state, found, advice) in [
        ("distributed", "ok", "2031.1.0, for dask", ""),
        ("ray", "warn", "2.8.1, for ray", "\"ray>=2.9\""),
        ("parsl", "ok", "unknown, for parsl-local, parsl-htex", ""),
        (
            "globus-compute-sdk",
            "note",
            "not installed",
            "for --executor globus",
        ),
        ("ndcctools", "note", "not installed", "conda install"),
        ("hyperqueue", "note", "not installed", "`hq`"),
    ] {
        let check = check(&json, &format!("package {name}"));
        assert_eq!(check["state"], state, "{check}");
        for (field, text) in [("found", found), ("advice", advice)] {
            let said = check[field].as_str().unwrap_or_default();
            assert!(said.contains(text), "{field}: {check}");
        }
    }
    assert_eq!(check(&json, "python")["state"], "ok");
    let packages = json["python"]["packages"].as_array().expect("packages");
    let ray = packages.iter().find(|package| package["name"] == "ray");
    let ray = ray.expect("Ray");
    assert_eq!(
        (&ray["version"], &ray["minimum"]),
        (&"2.8.1".into(), &"2.9".into())
    );
    assert_eq!(ray["supported"], false);
}

#[test]
fn an_interpreter_that_is_not_there() {
    let place = Place::new();
    let named = place
        .call(["doctor", "--json", "--python", "/no/such/python"])
        .expect(0)
        .json();
    let python = check(&named, "python");
    assert_eq!(python["state"], "warn", "{python}");
    assert!(python.to_string().contains("/no/such/python"), "{python}");
    assert_eq!(named["python"], Value::Null);
    // Who names none may want no engine.
    let mut command = place.command(["doctor", "--json"]);
    command.env("PATH", place.path());
    let usual = Running::new(command, place.path()).end();
    let usual = usual.expect(0).json();
    assert_eq!(check(&usual, "python")["state"], "note", "{usual}");
}
