//! Bundles are made, looked at, checked and signed, from a new app to its run.

use crate::{
    harness::{self, Ended, Place, installed, probe},
    registry::User,
};
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use taps_bundle::{Bundle, sign};

/// The built-in apps.
const BUILT_IN: [&str; 8] = [
    "cholesky",
    "docking",
    "fedlearn",
    "mapreduce",
    "moldesign",
    "montage",
    "physics",
    "synthetic",
];

/// Where new apps are made.
const MADE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/new-apps");

/// Begins an app and builds it there; gives the bundle. What this workspace was built of is here, but for what cargo
/// wants to see and does not build.
fn new_app(user: &User, place: &Path) -> PathBuf {
    // The directory is the same in every run of the tests, and cargo knows what it built for it.
    let _ = fs::remove_dir_all(place);
    fs::create_dir_all(place.parent().expect("a folder")).expect("create");
    let directory = place.to_str().expect("UTF-8");
    let begun = user.call(&["bundle", "new", "prime-count", directory]);
    begun.expect(0);
    let mut command = user.command(&["bundle", "build", directory]);
    let is_of_network = |name: &str| {
        let begins = [
            "CARGO_HTTP_",
            "CARGO_NET_",
            "CARGO_REGISTR",
            "CARGO_SOURCE_",
            "SSL_CERT_",
        ];
        begins.iter().any(|begin| name.starts_with(begin))
            || name.to_ascii_uppercase().ends_with("_PROXY")
    };
    command.envs(env::vars().filter(|(name, _)| is_of_network(name)));
    command.env("CARGO_TARGET_DIR", harness::built_apps());
    let home = env::var("HOME").unwrap_or_default();
    for (name, below) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let folder = env::var_os(name).map_or_else(|| Path::new(&home).join(below), PathBuf::from);
        command.env(name, folder);
    }
    let bundle = user.path("built.taps");
    // Cargo takes longer than anything else here.
    let output = command.arg("-o").arg(&bundle).output().expect("start");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    bundle
}

/// Compares with a snapshot; what every build has of its own is replaced.
macro_rules! masked {
    ($name:literal, $text:expr) => {
        settings().bind(|| insta::assert_snapshot!($name, $text))
    };
}

fn settings() -> insta::Settings {
    let mut settings = harness::settings();
    for (from, to) in [
        (r"sha256:[0-9a-f]{12,64}", "[DIGEST]"),
        (r"\b[0-9a-f]{4}(-[0-9a-f]{4}){3}\b", "[KEY]"),
        (r"\d+(\.\d+)? k?B\b", "[SIZE]"),
        (r"(wasi:\w+)@[0-9.]+: .*", "$1: [INTERFACES]"),
    ] {
        settings.add_filter(from, to);
    }
    settings
}

/// What is said by what must fail.
#[track_caller]
fn failed(ended: &Ended) -> String {
    let code = ended.code.expect("an exit code");
    assert_ne!(code, 0, "{}", ended.text());
    ended.expect(code).text()
}

#[test]
fn a_new_app_goes_all_the_way() {
    let user = User::new();
    let first = new_app(&user, &Path::new(MADE).join("one/prime-count"));
    fs::rename(&first, user.path("prime-count.taps")).expect("rename");
    // Elsewhere, the same.
    let second = new_app(&user, &Path::new(MADE).join("elsewhere/two/primes"));
    let [first, second] = [user.path("prime-count.taps"), second].map(fs::read);
    assert!(
        first.expect("written") == second.expect("written"),
        "two builds of the same sources differ"
    );

    let app = "./prime-count.taps";
    let shown = user.call(&["bundle", "inspect", app]);
    masked!("a_new_app", shown.expect(0).stdout);
    let json = user.json(&["bundle", "inspect", app]);
    assert_eq!(json["app"], "prime-count");
    assert_eq!(json["signatures"]["state"], "none");
    assert_eq!(json["tasks"][0]["component"], "prime-count-tasks.wasm");
    assert_eq!(json["expected"][0]["values"]["primes"], 9592);

    user.call(&["bundle", "verify", app]).expect(0);
    assert_eq!(user.json(&["run", app])["bundle"]["consent"], "remembered");

    // Somebody who did not build it.
    let maker = user;
    let user = User::new();
    fs::copy(maker.path(app), user.path(app)).expect("copy");
    user.call(&["run", app]).expect(4).says("not allowed yet");
    user.call(&["bundle", "verify", app, "--run"])
        .expect(4)
        .says("--allow");
    user.call(&["bundle", "keygen", "key"]).expect(0);
    user.call(&["bundle", "sign", app, "--key", "key.pem"])
        .expect(0);
    let verified = user.call(&["bundle", "verify", app, "--key", "key.pub.pem", "--run"]);
    masked!("a_new_app_is_verified", verified.expect(0).stdout);
    let run = user.json(&["run", app, "--key", "key.pub.pem", "--app.limit=1000"]);
    assert_eq!(run["values"]["primes"], 168);
    assert_eq!(run["bundle"]["consent"], "signed");

    changed_expectations(&user, app);
}

/// What runs give is compared, not taken on trust.
fn changed_expectations(user: &User, app: &str) {
    let bundle = Bundle::from_archive(&user.path(app)).expect("sound");
    let directory = user.path("changed");
    bundle.write_directory(&directory).expect("write");
    let manifest = directory.join("manifest.json");
    change(&manifest, |it| {
        it["expected"][0]["values"]["primes"] = 9593.into();
    });
    let refused = user.call(&["bundle", "verify", "./changed", "--run"]);
    refused.expect(3);
    assert!(
        refused
            .stdout
            .contains("expected primes is 9592, expected equal to 9593"),
        "{}",
        refused.text()
    );
}

/// Changes a manifest.
fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let text = fs::read(path).expect("a manifest");
    let mut manifest: Value = serde_json::from_slice(&text).expect("JSON");
    change(&mut manifest);
    fs::write(path, manifest.to_string()).expect("write");
}

#[test]
fn built_in_apps_are_bundles_below_a_megabyte() {
    // With the compiled code that all tests share: what an app says of itself is asked for in its sandbox.
    let place = Place::new();
    let json = |args: &[&str]| place.call([args, &["--json"]].concat()).expect(0).json();
    for app in BUILT_IN {
        let file = format!("{app}.taps");
        let exported = json(&["bundle", "export", app, "-o", &file]);
        let size = exported["file_bytes"].as_u64().expect("a size");
        let found = place.path().join(&file).metadata().expect("a file").len();
        assert_eq!(size, found);
        assert!(size < 1_000_000, "{app} has {size} bytes");
        for name in [format!("./{file}"), app.to_owned()] {
            let verified = json(&["bundle", "verify", &name]);
            assert_eq!(verified["ok"], true, "{verified}");
            assert_eq!(verified["digest"], exported["digest"]);
        }
    }
    let again = place.call(["bundle", "export", "synthetic", "-o", "again.taps"]);
    again.expect(0);
    let [one, two] = ["synthetic.taps", "again.taps"].map(|file| fs::read(place.path().join(file)));
    assert!(one.expect("written") == two.expect("written"));
}

#[test]
fn signatures_are_those_of_openssl() {
    if !installed(&["openssl"]) {
        return;
    }
    let user = User::new();
    user.call(&["bundle", "export", "synthetic", "-o", "a.taps"])
        .expect(0);
    user.call(&["bundle", "keygen", "ours"]).expect(0);
    user.call(&["bundle", "sign", "a.taps", "--key", "ours.pem"])
        .expect(0);
    let text = fs::read(user.path("a.taps.sig")).expect("a signature");
    let file = sign::SignatureFile::from_json(&text).expect("readable");
    fs::write(user.path("message"), sign::message(&file.bundle)).expect("write");
    let openssl = |args: &str| {
        let mut command = Command::new("openssl");
        command.args(args.split(' ')).current_dir(user.place.path());
        let output = command.output().expect("start openssl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {args}: {said}");
    };
    // Ours, by theirs.
    fs::write(user.path("base64"), &file.signatures[0].signature).expect("write");
    openssl("base64 -d -A -in base64 -out signature");
    openssl("pkeyutl -verify -pubin -inkey ours.pub.pem -rawin -in message -sigfile signature");
    openssl("pkey -in ours.pem -pubout -out same.pem");
    let [one, two] = ["ours.pub.pem", "same.pem"].map(|file| fs::read(user.path(file)));
    assert_eq!(one.expect("a key"), two.expect("a key"));
    // Theirs, by ours: their key signs, here and there.
    openssl("genpkey -algorithm ed25519 -out theirs.pem");
    openssl("pkey -in theirs.pem -pubout -out theirs.pub.pem");
    user.call(&["bundle", "sign", "a.taps", "--key", "theirs.pem"])
        .expect(0);
    let verify = ["bundle", "verify", "./a.taps", "--key"];
    for key in ["ours.pub.pem", "theirs.pub.pem"] {
        user.call(&[&verify[..], &[key]].concat()).expect(0);
    }
    openssl("pkeyutl -sign -inkey theirs.pem -rawin -in message -out signature");
    openssl("base64 -A -in signature -out base64");
    let theirs = fs::read_to_string(user.path("base64")).expect("Base64");
    let mut file = file;
    let pem = fs::read_to_string(user.path("theirs.pub.pem")).expect("a key");
    file.signatures[0].key = sign::PublicKey::from_pem(&pem).expect("a key").to_hex();
    file.signatures[0].signature = theirs.trim().to_owned();
    fs::write(user.path("a.taps.sig"), file.to_json()).expect("write");
    user.call(&[&verify[..], &["theirs.pub.pem"]].concat())
        .expect(0);
    user.call(&[&verify[..], &["ours.pub.pem"]].concat())
        .expect(4)
        .says("signature");
}

/// A user with a bundle, `a.taps`, of the probe, and two pairs of keys.
fn prepared() -> User {
    let user = User::new();
    user.call(&["bundle", "build", probe(), "-o", "a.taps"])
        .expect(0);
    for key in ["one", "two"] {
        user.call(&["bundle", "keygen", key]).expect(0);
    }
    user
}

#[test]
fn what_is_signed_wrongly_is_refused() {
    let user = prepared();
    let verify = |more: &[&str]| user.call(&[&["bundle", "verify", "./a.taps"], more].concat());
    assert!(verify(&[]).expect(0).stdout.contains("not signed"));
    let unsigned = verify(&["--key", "one.pub.pem"]);
    masked!("not_signed", unsigned.expect(4).text());
    user.call(&["bundle", "sign", "a.taps", "--key", "one.pem"])
        .expect(0);
    assert!(verify(&[]).expect(0).stdout.contains("not known here"));
    let wrong = verify(&["--key", "two.pub.pem"]);
    masked!("signed_by_another", wrong.expect(4).text());
    verify(&["--key", "two.pub.pem", "--key", "one.pub.pem"]).expect(0);
    // A key that is kept is known.
    user.place.write(
        "home/.config/taps-wasm/keys/one.pem",
        fs::read(user.path("one.pub.pem")).expect("a key"),
    );
    assert!(verify(&[]).expect(0).stdout.contains("a known key"));
    // Of another bundle, changed, and no signature at all.
    let sound = fs::read_to_string(user.path("a.taps.sig")).expect("a signature");
    let digest = format!("sha256:{}", "0".repeat(64));
    let of_another = replace_digest(&sound, &digest);
    let changed = sound.replace("\"signature\": \"", "\"signature\": \"AAAA");
    for (text, expected) in [
        (of_another.as_str(), "of another bundle"),
        (&changed, "the signature is WRONG"),
        ("{}", "unreadable"),
    ] {
        user.place.write("a.taps.sig", text);
        let refused = verify(&[]);
        let said = refused.expect(4).text();
        assert!(said.contains(expected), "{said}");
        let shown = user.call(&["bundle", "inspect", "./a.taps"]);
        assert!(shown.expect(0).stdout.contains(expected));
    }
}

fn replace_digest(text: &str, digest: &str) -> String {
    let mut file: Value = serde_json::from_str(text).expect("JSON");
    file["bundle"] = digest.into();
    file.to_string()
}

#[test]
fn bundles_that_are_not_what_they_say_are_refused() {
    let user = prepared();
    let bundle = Bundle::from_archive(&user.path("a.taps")).expect("sound");
    bundle.write_directory(&user.path("d")).expect("write");
    let manifest = user.path("d/manifest.json");
    let sound = fs::read(&manifest).expect("a manifest");
    let refused = |edit: fn(&mut Value)| {
        fs::write(&manifest, &sound).expect("write");
        change(&manifest, edit);
        let verified = user.call(&["bundle", "verify", "./d"]);
        // Running refuses what loading refuses, before anything else.
        if verified.stdout.is_empty() {
            let run = user.call(&["run", "./d", "--allow"]);
            assert_eq!(run.expect(4).stderr, verified.stderr);
        }
        verified.expect(4).text()
    };
    masked!(
        "a_hidden_import",
        refused(|it| {
            it["components"][0]["imports"]
                .as_array_mut()
                .expect("a list")
                .retain(|name| name != "taps:core/payloads@0.1.0");
        })
    );
    masked!("a_newer_format", refused(|it| it["format"] = 3.into()));
    masked!(
        "an_unknown_feature",
        refused(|it| it["requires"] = vec!["teleport"].into())
    );
    masked!(
        "another_digest",
        refused(|it| {
            it["components"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
        })
    );
    masked!(
        "another_description",
        refused(|it| {
            it["app"]["version"] = "9.9.9".into();
            it["app"]["tasks"][0]["pure"] =
                (!it["app"]["tasks"][0]["pure"].as_bool().unwrap_or(false)).into();
            it["app"]["tasks"].as_array_mut().expect("a list").pop();
            it["routes"].as_array_mut().expect("a list").pop();
        })
    );
}

#[test]
fn damaged_archives_are_refused() {
    let user = prepared();
    let whole = fs::read(user.path("a.taps")).expect("a bundle");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for damaged in [
        &whole[..0],
        &whole[..10],
        &whole[..whole.len() - 1],
        &changed,
    ] {
        user.place.write("b.taps", damaged);
        let mut said = Vec::new();
        for args in [
            &["run", "./b.taps", "--allow"][..],
            &["bundle", "inspect", "./b.taps"],
            &["bundle", "verify", "./b.taps"],
            &["bundle", "sign", "./b.taps", "--key", "one.pem"],
            &["describe", "./b.taps"],
        ] {
            said.push(user.call(args).expect(4).stderr.clone());
        }
        assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
        assert!(!user.path("b.taps.sig").exists());
    }
    let json = user.call(&["bundle", "verify", "./b.taps", "--json"]);
    assert_eq!(json.expect(4).json()["ok"], false);
}

#[test]
fn what_cannot_be_built_is_refused_before_anything_is_written() {
    let user = User::new();
    fs::create_dir(user.path("empty")).expect("create");
    user.place.write("text.wasm", "hello");
    user.place.write("broken/bundle.toml", "[[component]]\n");
    let twice = format!(
        "[[component]]\nfile = '{0}'\n[[component]]\nfile = '{0}'\n",
        probe()
    );
    user.place.write("twice/bundle.toml", twice);
    let build = |what: &str| failed(&user.call(&["bundle", "build", what]));
    masked!("build_nothing", build("nothing"));
    masked!("build_empty", build("empty"));
    masked!("build_text", build("text.wasm"));
    masked!("build_broken", build("broken"));
    let said = build("twice").replace(probe(), "[PROBE]");
    masked!("build_tasks_twice", said);
    let written = user.place.names().join(" ");
    assert!(!written.contains(".taps"), "{written}");
}

#[test]
fn wrong_arguments_are_refused_with_the_reason() {
    let user = prepared();
    user.place.write("there/x", "");
    let said = |args: &str| {
        let args: Vec<&str> = args.split(' ').collect();
        failed(&user.call(&args))
    };
    let all = [
        "bundle new Bad_Name",
        "bundle new there",
        "bundle new --update-sdk there",
        "bundle inspect nothing",
        "bundle inspect ./nothing.taps",
        "bundle inspect ./a.taps --key nothing.pem",
        "bundle verify nothing",
        "bundle verify ./a.taps --key one.pem",
        "bundle verify ./a.taps --run",
        "bundle verify ./a.taps --allow",
        "bundle sign ./a.taps --key one.pub.pem",
        "bundle sign ./a.taps --key nothing.pem",
        "bundle sign ./nothing.taps --key one.pem",
        "bundle keygen one",
        "bundle export nothing",
        "bundle export mapreduce -o no/such/folder.taps",
    ]
    .map(|args| format!("$ taps-wasm {args}\n{}\n", said(args)));
    masked!("wrong_arguments", all.concat());
}

/// Nobody but the owner reads a private key.
#[test]
fn private_keys_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.call(["bundle", "keygen", "key"]).expect(0);
    let mode = |name: &str| {
        let metadata = fs::metadata(place.path().join(name)).expect("a key");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("key.pem"), 0o600);
    assert_eq!(place.names(), ["key.pem", "key.pub.pem"]);
}
