//! The bundles that are kept on this machine, and runs of what was pulled.

use super::{
    User, run,
    server::{Access, Registry},
    snapshot, text,
};

#[test]
fn a_bundle_runs_by_its_place_in_a_registry() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let user = User::new();
    let digest = User::new().push(&registry.reference("apps/words:1"));
    let reference = registry.reference("apps/words:1");

    // Nothing is fetched with --locked, and nothing runs before somebody allows it.
    let locked = user.call(&[&run(&reference)[..], &["--locked"]].concat());
    locked.expect(4);
    snapshot!("locked", locked.stderr);
    let refused = user.call(&run(&reference));
    refused
        .expect(4)
        .says("this bundle was not allowed yet")
        .says(&format!("from {reference}"))
        .says("not signed")
        .says("--allow");
    assert_eq!(user.kept(), [digest.as_str()], "it was brought");
    assert!(!user.path("runs").exists());

    let allowed = user.call(&[&run(&reference)[..], &["--allow"]].concat());
    let summary = allowed.expect(0).json();
    assert_eq!(summary["bundle"]["digest"], digest.as_str(), "{summary}");
    let built_in = user.call(&run("mapreduce")).expect(0).json();
    assert_eq!(summary["values"], built_in["values"]);

    // Now it is here, and allowed: without the registry, too.
    drop(registry);
    for args in [run(&reference), run(&digest)] {
        let again = user.call(&[&args[..], &["--locked"]].concat());
        assert_eq!(again.expect(0).json()["values"], built_in["values"]);
    }
}

#[test]
fn what_is_kept_is_listed_added_and_removed() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let user = User::new();
    let cache = |args: &[&str]| user.call(&[&["bundle", "cache"], args].concat());
    let mut story = Vec::new();
    let mut note = |args: &[&str], code| {
        let ended = cache(args);
        story.push(format!(
            "$ bundle cache {}\n{}\n",
            args.join(" "),
            ended.expect(code).text()
        ));
        ended
    };
    note(&["list"], 0);
    note(&["clear"], 0);
    user.call(&["bundle", "export", "physics", "-o", "physics.taps"])
        .expect(0);
    note(&["add", "physics.taps"], 0);
    note(&["add", "absent.taps"], 4);
    let digest = user.push(&registry.reference("apps/words:1"));
    for tag in ["1", "2"] {
        user.push(&registry.reference(&format!("apps/words:{tag}")));
        user.pull(&registry.reference(&format!("apps/words:{tag}")));
    }
    note(&["list"], 0);
    note(&["remove", "nothing"], 2);
    note(&["remove", "physics:9"], 2);
    note(&["remove", "physics:0.1.0"], 0);
    note(&["remove", &registry.reference("apps/words:2")], 0);
    note(&["remove", &digest], 2);
    note(&["list"], 0);
    user.pull(&registry.reference("apps/words:1"));
    note(&["clear"], 0);
    assert_eq!(user.kept(), Vec::<String>::new());
    snapshot!(story.concat());
}

#[test]
fn the_list_as_json() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let user = User::new();
    let reference = registry.reference("apps/words:1");
    let digest = user.push(&reference);
    user.pull(&reference);
    let rows = user.json(&["bundle", "cache", "list"]);
    let path = text(&rows[0]["path"]);
    let size = std::fs::metadata(&path).expect("it is kept").len();
    let expected = serde_json::json!([{
        "app": "mapreduce",
        "version": "0.1.0",
        "digest": digest,
        "bytes": size,
        "references": [reference],
        "path": path,
        "error": null,
    }]);
    assert_eq!(rows, expected);
    // What is damaged is listed as such, and can be removed.
    std::fs::write(&path, "damaged").expect("it is ours");
    let rows = user.json(&["bundle", "cache", "list"]);
    assert_eq!(rows[0]["app"], serde_json::Value::Null);
    assert!(!text(&rows[0]["error"]).is_empty(), "{rows}");
    let listed = user.call(&["bundle", "cache", "list"]);
    snapshot!("damaged", listed.expect(0).text());
    user.call(&["bundle", "cache", "remove", &digest]).expect(0);
    assert_eq!(user.kept(), Vec::<String>::new());
}
