//! Who is let in: passwords, tokens, TLS.

use super::{
    User,
    openssl::{base64, certificate},
    server::{Access, NAME, PASSWORD, Registry, installed},
    snapshot,
    tokens::{READER, Tokens, WRITER},
};
use serde_json::json;

/// A file of logins as `docker login` writes it.
fn logins(registry: &Registry, name: &str, password: &str) -> String {
    let host = registry.reference("");
    let auth = base64(format!("{name}:{password}").as_bytes());
    json!({"auths": {host.trim_end_matches('/'): {"auth": auth}}}).to_string()
}

#[test]
fn logins_of_other_tools_count() {
    let Some(registry) = Registry::start(&Access::Passwords) else {
        return;
    };
    let reference = registry.reference("apps/mapreduce:1");
    let push = ["bundle", "push", "mapreduce", &reference];
    let (right, wrong) = (
        logins(&registry, NAME, PASSWORD),
        logins(&registry, NAME, "wrong"),
    );

    let nobody = User::new().call(&push);
    snapshot!("nobody", nobody.expect(6).text());

    let docker = User::new();
    docker.place.write("home/.docker/config.json", &right);
    docker.call(&push).expect(0);

    let elsewhere = User::new();
    let file = elsewhere.place.write("docker/config.json", &right);
    let mut command = elsewhere.command(&push);
    command.env("DOCKER_CONFIG", file.parent().expect("a directory"));
    elsewhere.end(command).expect(0);

    // What `skopeo login` writes comes before what `docker login` writes.
    let skopeo = User::new();
    skopeo.place.write("home/.docker/config.json", &wrong);
    skopeo.place.write("runtime/containers/auth.json", &right);
    let mut command = skopeo.command(&push);
    command.env("XDG_RUNTIME_DIR", skopeo.path("runtime"));
    skopeo.end(command).expect(0);

    // The file that is named is the only one that counts.
    let named = User::new();
    named.place.write("home/.docker/config.json", &wrong);
    let file = named.place.write("logins.json", &right);
    let mut command = named.command(&push);
    command.env("REGISTRY_AUTH_FILE", &file);
    named.end(command).expect(0);
    named.place.write("home/.docker/config.json", &right);
    named.place.write("logins.json", &wrong);
    let mut command = named.command(&push);
    command.env("REGISTRY_AUTH_FILE", &file);
    let refused = named.end(command);
    snapshot!("wrong_in_a_file", refused.expect(6).text());
    assert!(!refused.text().contains("d3Jvbmc"), "no password is shown");
}

#[test]
fn a_password_on_standard_input() {
    let Some(registry) = Registry::start(&Access::Passwords) else {
        return;
    };
    let reference = registry.reference("apps/mapreduce:1");
    let user = User::new();
    let with = |what: &[&str], name: &str, password: &str| {
        let login = ["--username", name, "--password-stdin"];
        user.call_with(password, &[what, &login].concat())
    };
    let push = ["bundle", "push", "mapreduce", &reference];
    with(&push, NAME, &format!("{PASSWORD}\n")).expect(0);
    let pull = ["bundle", "pull", &reference];
    with(&pull, NAME, PASSWORD).expect(0);
    let refused = with(&pull, NAME, "something else");
    snapshot!("wrong_password", refused.expect(6).text());
    assert!(!refused.text().contains("something else"));
    with(&pull, "somebody", PASSWORD)
        .expect(6)
        .says("`somebody`");
    let empty = with(&pull, NAME, "\n");
    snapshot!("no_password", empty.expect(2).text());
    let alone = user.call(&[&pull[..], &["--username", NAME]].concat());
    snapshot!("a_name_alone", alone.expect(2).text());
}

#[test]
fn a_server_of_tokens() {
    if !installed(&["openssl", "docker-registry"]) {
        return;
    }
    let tokens = Tokens::start();
    let Some(registry) = Registry::start(&Access::Tokens(&tokens)) else {
        return;
    };
    let reference = registry.reference("apps/mapreduce:1");
    let push = ["bundle", "push", "mapreduce", &reference];
    let pull = ["bundle", "pull", &reference];
    let user = User::new();
    let with = |what: &[&str], (name, password): (&str, &str)| {
        let login = ["--username", name, "--password-stdin"];
        user.call_with(password, &[what, &login].concat())
    };
    with(&push, WRITER).expect(0);
    with(&pull, READER).expect(0);
    let read_only = with(&push[..3], READER);
    read_only.expect(2);
    let other = registry.reference("apps/other:1");
    let refused = with(&["bundle", "push", "mapreduce", &other], READER);
    snapshot!("may_not_push", refused.expect(6).text());
    let refused = with(&pull, (READER.0, "wrong"));
    snapshot!("no_token", refused.expect(6).text());
    let nobody = User::new().call(&pull);
    snapshot!("token_for_nothing", nobody.expect(6).text());
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    if !installed(&["openssl", "docker-registry"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let certificate = certificate(directory.path());
    let key = directory.path().join("key.pem");
    let access = Access::Tls {
        certificate: &certificate,
        key: &key,
    };
    let Some(registry) = Registry::start(&access) else {
        return;
    };
    // This machine, by an address that is not known as such.
    let reference = registry.reference_as("0.0.0.0", "apps/mapreduce:1");
    let user = User::new();
    let push = ["bundle", "push", "mapreduce", &reference];
    let unknown = user.call(&push);
    unknown.expect(6).says("certificate").says("SSL_CERT_FILE");
    let mut command = user.command(&push);
    command.env("SSL_CERT_FILE", &certificate);
    user.end(command).expect(0);
    let mut command = user.command(&["bundle", "pull", &reference]);
    command.env("SSL_CERT_FILE", &certificate);
    user.end(command).expect(0);
}
