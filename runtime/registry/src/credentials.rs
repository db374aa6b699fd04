//! Who we are to a registry: a name and a password that the user gave, or what other tools keep.

use crate::{Reference, RegistryError};
use base64::Engine as _;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password, or a token that takes its place.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.username)
    }
}

/// Where logins are looked for, in this order. A place that is not set is left out.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `$REGISTRY_AUTH_FILE`: the only file that counts, if it is set.
    pub auth_file: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR/containers/auth.json`, where `skopeo login` and `podman login` write.
    pub containers: Option<PathBuf>,
    /// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, where `docker login` writes.
    pub docker: Option<PathBuf>,
}

impl Places {
    /// The places that the environment names.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let below = |name: &str, rest: &str| variable(name).map(|base| Path::new(&base).join(rest));
        Self {
            auth_file: variable("REGISTRY_AUTH_FILE").map(PathBuf::from),
            containers: below("XDG_RUNTIME_DIR", "containers/auth.json"),
            docker: below("DOCKER_CONFIG", "config.json")
                .or_else(|| below("HOME", ".docker/config.json")),
        }
    }

    /// What the places say of a reference.
    pub(crate) fn identity(&self, reference: &Reference) -> Result<Identity, RegistryError> {
        if let Some(path) = &self.auth_file {
            let file = AuthFile::read(path)?.ok_or_else(|| {
                unusable(
                    path,
                    "REGISTRY_AUTH_FILE names it, and there is no such file",
                )
            })?;
            return Ok(file.identity(path, reference)?.unwrap_or_default());
        }
        for path in [&self.containers, &self.docker].into_iter().flatten() {
            if let Some(file) = AuthFile::read(path)?
                && let Some(identity) = file.identity(path, reference)?
            {
                return Ok(identity);
            }
        }
        Ok(Identity::default())
    }
}

/// How we log in to a registry, and how messages call it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    pub(crate) auth: RegistryAuth,
    pub(crate) who: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            auth: RegistryAuth::Anonymous,
            who: "a request without a login".to_owned(),
        }
    }
}

impl Identity {
    /// Of a login that came from `from`.
    pub(crate) fn of(login: &Login, from: &str) -> Self {
        Self {
            auth: RegistryAuth::Basic(login.username.clone(), login.password.clone()),
            who: format!("`{}` (login from {from})", login.username),
        }
    }
}

fn unusable(path: &Path, reason: impl Into<String>) -> RegistryError {
    RegistryError::Credentials {
        place: path.display().to_string(),
        reason: reason.into(),
    }
}

/// A file of logins, as Docker and the tools of `containers` write it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl AuthFile {
    /// Reads it; none where there is none.
    fn read(path: &Path) -> Result<Option<Self>, RegistryError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(unusable(path, error.to_string())),
        };
        let wrong = |what: &str| unusable(path, format!("it is not a file of logins: {what}"));
        let json: Value =
            serde_json::from_slice(&text).map_err(|error| wrong(&error.to_string()))?;
        // Where values are of other types, messages of the reader would show them: passwords, perhaps.
        let expected = "expected an object of `auths`, `credHelpers` and `credsStore`";
        if !json.is_object() {
            return Err(wrong(expected));
        }
        serde_json::from_value(json)
            .map(Some)
            .map_err(|_| wrong(expected))
    }

    fn identity(
        &self,
        path: &Path,
        reference: &Reference,
    ) -> Result<Option<Identity>, RegistryError> {
        let keys = keys(reference);
        if let Some(helper) = keys.iter().find_map(|key| self.cred_helpers.get(key)) {
            return ask_helper(path, helper, server_of(reference));
        }
        let entry = keys.iter().find_map(|key| self.auths.get(key));
        let identity = match entry {
            Some(entry) => entry.identity(path, reference)?,
            None => None,
        };
        if identity.is_some() || self.creds_store.is_empty() {
            return Ok(identity);
        }
        ask_helper(path, &self.creds_store, server_of(reference))
    }
}

impl Entry {
    fn identity(
        &self,
        path: &Path,
        reference: &Reference,
    ) -> Result<Option<Identity>, RegistryError> {
        let from = path.display().to_string();
        if !self.registrytoken.is_empty() {
            return Ok(Some(Identity {
                auth: RegistryAuth::Bearer(self.registrytoken.clone()),
                who: format!("the registry token of {from}"),
            }));
        }
        if !self.identitytoken.is_empty() {
            let host = reference.host();
            let reason = format!("its entry for {host} is an identity token, which is not known");
            return Err(unusable(path, reason));
        }
        if !self.auth.is_empty() {
            let login = decoded(&self.auth).ok_or_else(|| {
                let reason = format!(
                    "`auth` of its entry for {} is not `NAME:PASSWORD` in base64",
                    reference.host()
                );
                unusable(path, reason)
            })?;
            return Ok(Some(Identity::of(&login, &from)));
        }
        if self.username.is_empty() {
            return Ok(None);
        }
        let login = Login {
            username: self.username.clone(),
            password: self.password.clone(),
        };
        Ok(Some(Identity::of(&login, &from)))
    }
}

fn decoded(auth: &str) -> Option<Login> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(auth.trim())
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(Login {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

/// Names under which a login for a reference may be kept, the most particular one first.
fn keys(reference: &Reference) -> Vec<String> {
    let mut name = format!("{}/{}", reference.host(), reference.path());
    let mut keys = vec![name.clone()];
    while let Some((above, _)) = name.rsplit_once('/') {
        name = above.to_owned();
        keys.push(name.clone());
    }
    let host = reference.host();
    keys.push(format!("https://{host}"));
    keys.push(format!("http://{host}"));
    for version in ["v1", "v2"] {
        keys.push(format!("https://{host}/{version}/"));
    }
    if is_docker_hub(host) {
        keys.push("https://index.docker.io/v1/".to_owned());
    }
    keys
}

fn is_docker_hub(host: &str) -> bool {
    matches!(
        host,
        "docker.io" | "index.docker.io" | "registry-1.docker.io"
    )
}

/// What a credential helper calls the registry.
fn server_of(reference: &Reference) -> &str {
    if is_docker_hub(reference.host()) {
        "https://index.docker.io/v1/"
    } else {
        reference.host()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-NAME`; none when it knows no login for the server.
fn ask_helper(path: &Path, name: &str, server: &str) -> Result<Option<Identity>, RegistryError> {
    let program = format!("docker-credential-{name}");
    let failed = |reason: String| unusable(path, format!("`{program} get` {reason}"));
    if name.is_empty() || name.contains('/') {
        return Err(unusable(
            path,
            format!("`{name}` is no credential helper's name"),
        ));
    }
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that ends without reading says why by how it ends.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(format!("failed ({}): {said}", output.status)));
    }
    let answer: HelperAnswer = serde_json::from_str(&said)
        .map_err(|error| failed(format!("did not answer with a login: {error}")))?;
    if answer.username == "<token>" {
        return Err(failed(
            "gave an identity token, which is not known".to_owned(),
        ));
    }
    let login = Login {
        username: answer.username,
        password: answer.secret,
    };
    Ok(Some(Identity::of(&login, &program)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tempfile::TempDir;

    fn reference(text: &str) -> Reference {
        text.parse().expect("a reference")
    }

    fn basic(name: &str, password: &str) -> RegistryAuth {
        RegistryAuth::Basic(name.to_owned(), password.to_owned())
    }

    fn encoded(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    fn file(directory: &TempDir, name: &str, content: &str) -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("written");
        path
    }

    #[test]
    fn the_most_particular_entry_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let text = format!(
            r#"{{"auths": {{"r.org": {{"auth": "{}"}}, "r.org/apps": {{"auth": "{}"}},
                "https://s.org/v1/": {{"username": "c", "password": "3"}}, "t.org": {{"registrytoken": "x"}}}}}}"#,
            encoded("a:1"),
            encoded("b:2:with:colons")
        );
        let places = Places {
            docker: Some(file(&directory, "config.json", &text)),
            ..Places::default()
        };
        let auth = |text: &str| places.identity(&reference(text)).expect("readable").auth;
        assert_eq!(auth("r.org/other/x:1"), basic("a", "1"));
        assert_eq!(auth("r.org/apps/x:1"), basic("b", "2:with:colons"));
        assert_eq!(auth("s.org/x"), basic("c", "3"));
        assert_eq!(auth("t.org/x"), RegistryAuth::Bearer("x".to_owned()));
        assert_eq!(auth("u.org/x"), RegistryAuth::Anonymous);
    }

    #[test]
    fn an_auth_file_that_is_named_is_the_only_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let text = |login| {
            format!(
                r#"{{"auths": {{"r.org": {{"auth": "{}"}}}}}}"#,
                encoded(login)
            )
        };
        let docker = Some(file(&directory, "docker.json", &text("docker:1")));
        let containers = Some(file(&directory, "containers.json", &text("podman:2")));
        let mut places = Places {
            auth_file: None,
            containers,
            docker,
        };
        let r = reference("r.org/x");
        assert_eq!(places.identity(&r).expect("one").auth, basic("podman", "2"));
        places.auth_file = Some(file(&directory, "named.json", "{}"));
        assert_eq!(places.identity(&r).expect("none"), Identity::default());
        places.auth_file = Some(directory.path().join("absent.json"));
        let error = places.identity(&r).expect_err("absent").to_string();
        assert!(
            error.contains("absent.json") && error.contains("REGISTRY_AUTH_FILE"),
            "{error}"
        );
    }

    #[test]
    fn what_is_unusable_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        for (text, says) in [
            ("[]", "not a file of logins: expected an object"),
            ("{", "not a file of logins: EOF"),
            (r#"{"auths": {"r.org": "secret"}}"#, "expected an object"),
            (r#"{"auths": {"r.org": {"auth": "%%"}}}"#, "base64"),
            (
                r#"{"auths": {"r.org": {"identitytoken": "t"}}}"#,
                "identity token",
            ),
            (
                r#"{"credHelpers": {"r.org": "not-there-at-all"}}"#,
                "docker-credential-not-there-at-all",
            ),
            (
                r#"{"credsStore": "../evil"}"#,
                "no credential helper's name",
            ),
        ] {
            let path = file(&directory, "config.json", text);
            let places = Places {
                docker: Some(path.clone()),
                ..Places::default()
            };
            let error = places.identity(&reference("r.org/x")).expect_err(text);
            let error = error.to_string();
            assert!(
                error.contains(says) && error.contains(path.to_str().expect("UTF-8")),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn places_come_from_the_environment() {
        let places = Places::from_variables(|name| Some(format!("/{name}").into()));
        assert_eq!(
            places.auth_file.as_deref(),
            Some(Path::new("/REGISTRY_AUTH_FILE"))
        );
        assert_eq!(
            places.docker.as_deref(),
            Some(Path::new("/DOCKER_CONFIG/config.json"))
        );
        let places =
            Places::from_variables(|name| (name == "HOME").then(|| OsString::from("/home/a")));
        assert_eq!(
            places.docker.as_deref(),
            Some(Path::new("/home/a/.docker/config.json"))
        );
        assert_eq!(places.containers, None);
    }

    proptest! {
        #[test]
        fn any_login_of_a_file_is_read(username in "[^:\\x00]{1,20}", password in "[^\\x00]{0,40}") {
            let login = decoded(&encoded(&format!("{username}:{password}")));
            prop_assert_eq!(login, Some(Login { username, password }));
        }

        #[test]
        fn no_file_makes_the_reader_panic(text in ".{0,60}", auth in ".{0,40}") {
            let directory = tempfile::tempdir().expect("a directory");
            let entry = serde_json::json!({"auths": {"r.org": {"auth": auth}}}).to_string();
            for content in [text, entry] {
                let places = Places {
                    docker: Some(file(&directory, "config.json", &content)),
                    ..Places::default()
                };
                let _ = places.identity(&reference("r.org/x"));
            }
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let login = Login {
            username: "a".to_owned(),
            password: "secret".to_owned(),
        };
        let shown = format!("{login:?} {:?}", Identity::of(&login, "a test"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
