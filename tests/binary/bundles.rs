//! Bundles that run: found by file, directory and name, allowed once, and the same result wherever they run.

use crate::{
    data_sets::mirror,
    harness::{Ended, installed, names, run_dir},
    registry::{User, settings},
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};
use taps_bundle::Digest;

/// A run that takes no time, of whatever stands for `mapreduce`.
const SMALL: [&str; 4] = [
    "--app.generate",
    "true",
    "--app.generated-words=100",
    "--json",
];

fn run(user: &User, app: &str, more: &[&str]) -> Ended {
    user.call(&[&["run", app], &SMALL[..], more].concat())
}

/// Writes the built-in `mapreduce` as a file, and gives its digest.
fn export(user: &User, file: &str) -> String {
    let exported = user.json(&["bundle", "export", "mapreduce", "-o", file]);
    let digest = exported["digest"].as_str().expect("a digest");
    digest.to_owned()
}

/// What two runs of the same configuration have to agree about.
fn outcome(summary: &Value) -> (Value, Value, Value) {
    let [values, checks] = ["values", "checks"].map(|name| summary[name].clone());
    (values, checks, summary["bundle"]["digest"].clone())
}

#[test]
fn a_run_elsewhere_gives_the_same_result() {
    let here = User::new();
    let apps: [(&str, &[&str]); 2] = [
        (
            "mapreduce",
            &["--app.generate=true", "--app.generated-words=500"],
        ),
        ("cholesky", &["--app.matrix-size=32", "--app.block-size=8"]),
    ];
    for (app, flags) in apps {
        let exported = format!("{app}.taps");
        here.call(&["bundle", "export", app, "-o", &exported])
            .expect(0);
        let name = format!("./{exported}");
        let first = here
            .call(
                &[
                    &[
                        "run",
                        &name,
                        "--allow",
                        "--json",
                        "--executor.max-threads=2",
                    ],
                    flags,
                ]
                .concat(),
            )
            .expect(0)
            .json();
        let config = run_dir(&first).join("config.toml");
        let text = fs::read_to_string(&config).expect("every run has one");

        // Another machine: no cache at all, other workers, worker processes, sandboxes used again.
        let there = User::new();
        let archive = fs::read(here.path(&exported)).expect("it was written");
        there.place.write(&exported, archive);
        let text = text.replace(
            here.place.path().to_str().expect("UTF-8"),
            there.place.path().to_str().expect("UTF-8"),
        );
        there.place.write("theirs/config.toml", &text);
        let mut command = there.command(&[
            "run",
            "theirs/config.toml",
            "--executor=process-pool",
            "--executor.max-processes=1",
            "--engine.instances=reuse",
            "--allow",
            "--json",
        ]);
        command
            .env_remove("XDG_CACHE_HOME")
            .env("HOME", "/dev/null");
        command.env("XDG_CONFIG_HOME", there.path("config"));
        let second = there.end(command).expect(0).json();
        assert_eq!(outcome(&first), outcome(&second), "{app}");
        let [one, other] = [&first, &second].map(|summary| {
            let path = run_dir(summary).join("environment.json");
            let text = fs::read_to_string(path).expect("every run has one");
            serde_json::from_str::<Value>(&text).expect("JSON")["bundle"].clone()
        });
        assert_eq!(one["digest"], other["digest"]);
        assert_eq!(
            (&one["aot"], &other["aot"]),
            (&"cached".into(), &"uncached".into())
        );
        assert_eq!(one["host_version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(one["consent"], "allowed");
    }
}

#[test]
fn a_configuration_is_of_one_bundle() {
    let user = User::new();
    let digest = export(&user, "words.taps");
    let summary = run(&user, "./words.taps", &["--allow"]).expect(0).json();
    assert_eq!(summary["bundle"]["digest"], digest.as_str());
    let config = run_dir(&summary).join("config.toml");
    let config = config.to_str().expect("UTF-8");

    // Another bundle by that name is not what the configuration is of.
    fs::remove_file(user.path("words.taps")).expect("it was there");
    user.json(&["bundle", "export", "cholesky", "-o", "words.taps"]);
    let refused = user.call(&["run", config]);
    refused
        .expect(4)
        .says("but the configuration is of sha256:")
        .says("bundle cache add");
    // Nor is none.
    fs::remove_file(user.path("words.taps")).expect("it was there");
    user.call(&["run", config]).expect(4);
    // The cache has it, whatever the file was called.
    export(&user, "again.taps");
    user.call(&["bundle", "cache", "add", "again.taps"])
        .expect(0);
    let again = user.call(&["run", config, "--json"]).expect(0).json();
    assert_eq!(again["values"], summary["values"]);
}

#[test]
fn a_bundle_is_allowed_once() {
    let user = User::new();
    export(&user, "words.taps");
    let refused = run(&user, "./words.taps", &[]);
    refused.expect(4);
    settings().bind(|| insta::assert_snapshot!("not_allowed_yet", refused.stderr));
    assert!(!user.path("runs").exists(), "nothing ran");
    run(&user, "./words.taps", &["--locked"])
        .expect(4)
        .says("--locked refuses this bundle");
    run(&user, "./words.taps", &["--allow"]).expect(0);
    for more in [&[][..], &["--locked"]] {
        let summary = run(&user, "./words.taps", more).expect(0).json();
        assert_eq!(summary["bundle"]["consent"], "remembered");
    }
    // Others were not asked.
    let other = User::new();
    let bytes = fs::read(user.path("words.taps")).expect("it was written");
    other.place.write("words.taps", bytes);
    run(&other, "./words.taps", &[]).expect(4);
    // What others can write decides nothing.
    let allowed = user.path("home/.config/taps-wasm/allowed.json");
    let mut mode = fs::metadata(&allowed)
        .expect("it was written")
        .permissions();
    mode.set_mode(0o666);
    fs::set_permissions(&allowed, mode).expect("it is ours");
    run(&user, "./words.taps", &[])
        .expect(4)
        .says("others than this user can write it");
}

#[test]
fn a_signature_of_a_known_key_is_enough() {
    let user = User::new();
    export(&user, "words.taps");
    user.call(&["bundle", "keygen", "me"]).expect(0);
    user.call(&["bundle", "keygen", "stranger"]).expect(0);
    user.call(&["bundle", "sign", "words.taps", "--key", "me.pem"])
        .expect(0);
    run(&user, "./words.taps", &["--key", "stranger.pub.pem"]).expect(4);
    let summary = run(&user, "./words.taps", &["--locked", "--key", "me.pub.pem"])
        .expect(0)
        .json();
    assert_eq!(summary["bundle"]["consent"], "signed");
    assert!(summary["bundle"]["key"].is_string(), "{summary}");
    // The signature of one bundle says nothing of another.
    user.json(&["bundle", "export", "cholesky", "-o", "other.taps"]);
    fs::copy(user.path("words.taps.sig"), user.path("other.taps.sig")).expect("copied");
    let cholesky = [
        "run",
        "./other.taps",
        "--app.matrix-size=4",
        "--app.block-size=2",
    ];
    user.call(&[&cholesky[..], &["--key", "me.pub.pem"]].concat())
        .expect(4)
        .says("other.taps");
}

#[test]
fn what_is_no_sound_bundle_is_refused_before_anything_runs() {
    let user = User::new();
    export(&user, "words.taps");
    let whole = fs::read(user.path("words.taps")).expect("it was written");
    user.place.write("cut.taps", &whole[..whole.len() / 2]);
    let mut tampered = whole.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    user.place.write("tampered.taps", tampered);
    user.place.write("text.taps", "hello");
    user.place.write("empty.taps", "");
    for name in [
        "./cut.taps",
        "./tampered.taps",
        "./text.taps",
        "./empty.taps",
    ] {
        let refused = run(&user, name, &["--allow"]);
        refused.expect(4).says(&format!("load the app `{name}`"));
        assert!(!user.path("runs").exists(), "nothing ran");
    }
}

/// Writes the example app around `gzip` as a bundle with a text, of which it says what a run gives; `place` is where
/// the text is, in the words of `bundle.toml`.
fn compressor(user: &User, place: &str, bytes: u32) {
    let gzip = taps_fixtures::gzip().to_str().expect("UTF-8");
    user.place.write("text.txt", TEXT.repeat(2000));
    let recipe = format!(
        r#"
[bundle]
licence = "MIT OR Apache-2.0"

[[component]]
file = "{gzip}"

[[data]]
name = "texts/words.txt"
{place}

[defaults]
file = "bundle:texts/words.txt"

[[expected]]
values = {{ bytes = {bytes} }}
"#
    );
    user.place.write("bundle.toml", recipe);
    user.call(&["bundle", "build", ".", "-o", "gzip.taps"])
        .expect(0);
}

/// Repeated, the text of [`compressor`].
const TEXT: &str = "word ";

/// The text is in the bundle.
const INCLUDED: &str = r#"file = "text.txt""#;

#[test]
fn a_bundle_brings_its_data_and_says_what_it_gives() {
    if !installed(&["gzip"]) {
        return;
    }
    let user = User::new();
    compressor(&user, INCLUDED, 10_000);
    user.call(&["run", "./gzip.taps", "--locked"]).expect(0);
    let summary = user.json(&["run", "./gzip.taps"]);
    let checks = summary["checks"].as_array().expect("checks");
    let expected = checks
        .iter()
        .find(|check| check["name"] == "expected bytes");
    assert_eq!(expected.expect("a check")["passed"], true, "{summary}");
    let config = fs::read_to_string(run_dir(&summary).join("config.toml")).expect("written");
    assert!(config.contains("bundle:texts/words.txt"), "{config}");

    // A file of the user's is another input, of which nothing is expected.
    user.place.write("own.txt", "own");
    let own = user.json(&["run", "./gzip.taps", "--app.file=own.txt"]);
    assert!(!own["checks"].to_string().contains("expected "), "{own}");
    let unknown = user.call(&["run", "./gzip.taps", "--app.file=bundle:texts/word.txt"]);
    unknown
        .expect(2)
        .says("data of the bundle (bundle:texts/words.txt)");

    // One that expects what does not come is wrong, and says so.
    let other = User::new();
    compressor(&other, INCLUDED, 9_999);
    let wrong = other.call(&["run", "./gzip.taps"]);
    wrong.expect(3).says("expected bytes");
}

#[test]
fn data_of_a_bundle_may_be_elsewhere() {
    if !installed(&["gzip"]) {
        return;
    }
    let text = TEXT.repeat(2000);
    let digest = Digest::of(text.as_bytes()).to_hex();
    let longer = format!("{text}x");
    let files = [
        ("words.txt", text.as_bytes()),
        ("other.txt", &text.as_bytes().to_ascii_uppercase()),
        ("longer.txt", longer.as_bytes()),
    ];
    let address = mirror(&files);
    let user = User::new();
    let at = |name: &str| {
        let size = text.len();
        compressor(
            &user,
            &format!("url = \"{address}/{name}\"\nsha256 = \"{digest}\"\nsize = {size}"),
            10_000,
        );
    };
    for (name, reason) in [
        ("other.txt", "but the manifest says"),
        ("longer.txt", "it has more than the 10000 bytes"),
        ("nothing.txt", "404"),
    ] {
        at(name);
        user.call(&["run", "./gzip.taps"]).expect(4).says(reason);
    }
    at("words.txt");
    user.call(&["run", "./gzip.taps", "--locked"])
        .expect(4)
        .says("--locked fetches nothing");
    user.call(&["run", "./gzip.taps"]).expect(0);
    // Now it is here.
    user.call(&["run", "./gzip.taps", "--locked"]).expect(0);
}

#[test]
fn an_app_of_a_directory_is_an_app_like_any_other() {
    let user = User::new();
    fs::create_dir(user.path("apps")).expect("created");
    fs::copy(taps_fixtures::probe(), user.path("apps/probe.wasm")).expect("copied");
    user.json(&["bundle", "export", "mapreduce", "-o", "apps/words.taps"]);
    user.place.write("apps/broken.taps", "no bundle");
    user.place.write("apps/notes.txt", "not looked at");
    let call = |args: &[&str]| {
        let mut command = user.command(args);
        command.env("TAPS_WASM_APPS", user.path("apps"));
        user.end(command)
    };
    let list = call(&["list", "apps"]);
    let place = user.path("");
    let text = list
        .expect(0)
        .stdout
        .replace(place.to_str().expect("UTF-8"), "[DIR]/");
    settings().bind(|| insta::assert_snapshot!("listed", text));
    let listed = call(&["list", "apps", "--json"]).expect(0).json();
    assert!(listed.to_string().contains("apps/probe.wasm"), "{listed}");
    let described = call(&["describe", "probe"]);
    described.expect(0);
    assert!(described.stdout.contains("action"), "{}", described.text());
    let help = call(&["run", "probe", "--help"]);
    help.expect(0);
    assert!(help.stdout.contains("--app.action"), "{}", help.text());
    let wrong = call(&["run", "probe", "--app.action=dance"]);
    wrong.expect(2).says("--app.action");
    let probe = ["run", "probe", "--app.action=ok", "--json"];
    call(&probe).expect(4).says("not allowed yet");
    let summary = call(&[&probe[..], &["--allow"]].concat()).expect(0).json();
    assert_eq!(summary["app"], "probe");
    call(&probe).expect(0);
    call(&["run", "broken"]).expect(4).says("apps/broken.taps");
    // A name stands for the built-in app first.
    let args = [&["run", "mapreduce"], &SMALL[..]].concat();
    let built_in = call(&args).expect(0).json();
    assert_eq!(built_in["bundle"]["consent"], "built-in");
    assert_eq!(names(&user.path("apps")).len(), 4, "nothing was added");
}

#[test]
fn an_app_of_the_cache_has_a_name_and_a_version() {
    let user = User::new();
    let probe = taps_fixtures::probe().to_str().expect("UTF-8");
    user.call(&["bundle", "build", probe, "-o", "probe.taps"])
        .expect(0);
    user.call(&["bundle", "cache", "add", "probe.taps"])
        .expect(0);
    fs::remove_file(user.path("probe.taps")).expect("it was built");
    let version = user.json(&["describe", "probe"])["app"]["version"].clone();
    let version = version.as_str().expect("a version").to_owned();
    for name in ["probe".to_owned(), format!("probe:{version}")] {
        let summary = user.json(&["run", &name, "--app.action=ok"]);
        assert_eq!(
            summary["bundle"]["source"], "the cache of bundles",
            "{summary}"
        );
    }
    user.call(&["run", "probe:99.0.0", "--app.action=ok"])
        .expect(2)
        .says("no app named `probe:99.0.0`");
}
