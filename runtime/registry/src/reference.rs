//! The name of a bundle in a registry.

use std::{fmt, str::FromStr};
use taps_bundle::Digest;

/// The name of a bundle in a registry: `HOST[:PORT]/PATH[:TAG][@sha256:…]`.
///
/// The host is always there, so that a name never depends on a default registry: it has a dot or a port,
/// or is `localhost`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is no [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no reference to a registry: {reason}")]
pub struct ReferenceError {
    /// What was given.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

/// Longest path and longest tag of the distribution specification, in bytes.
const LONGEST_PATH: usize = 255;
const LONGEST_TAG: usize = 128;

impl Reference {
    /// Host, with the port if there is one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Path within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Digest of the bundle, as `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same place under another tag, and without a digest.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        }
    }

    /// The same place under the tag of a version. Tags have no `+`; it becomes `_`, as other tools have it.
    #[must_use]
    pub fn with_version(&self, version: &str) -> Self {
        self.with_tag(&version.replace('+', "_"))
    }

    /// The same place, of this bundle only.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self {
            digest: Some(digest.to_string()),
            ..self.clone()
        }
    }

    /// The place of the signatures of a bundle: the tag `sha256-<hex>.sig`, as registries without the API
    /// of referrers have them.
    #[must_use]
    pub fn of_signatures(&self, digest: &Digest) -> Self {
        self.with_tag(&format!("sha256-{}.sig", digest.to_hex()))
    }

    /// Whether the host is this machine, which is spoken to without TLS.
    pub fn is_loopback(&self) -> bool {
        let name = self.host_name();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Host without the port.
    fn host_name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }

    /// Whether a text begins as a reference does: with a host and a slash. For telling a reference from
    /// the name of an app.
    pub fn looks_like_one(text: &str) -> bool {
        text.split_once('/')
            .is_some_and(|(host, rest)| !rest.is_empty() && is_host(host))
    }

    /// What the client library calls it.
    pub(crate) fn for_client(&self) -> oci_client::Reference {
        let (host, path) = (self.host.clone(), self.path.clone());
        match (&self.digest, &self.tag) {
            (Some(digest), _) => oci_client::Reference::with_digest(host, path, digest.clone()),
            (None, Some(tag)) => oci_client::Reference::with_tag(host, path, tag.clone()),
            (None, None) => oci_client::Reference::with_tag(host, path, "latest".to_owned()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refuse = |reason: String| ReferenceError {
            text: text.to_owned(),
            reason,
        };
        let rest = text.strip_prefix("oci://").unwrap_or(text);
        if rest.contains("://") {
            let reason = "a reference has no scheme; it is HOST[:PORT]/PATH[:TAG][@sha256:…]";
            return Err(refuse(reason.to_owned()));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_host(host) {
            return Err(refuse(format!(
                "`{host}` is no host; it has a dot or a port, or is localhost"
            )));
        }
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        check_path(path).map_err(refuse)?;
        tag.map_or(Ok(()), check_tag).map_err(refuse)?;
        digest.map_or(Ok(()), check_digest).map_err(refuse)?;
        Ok(Self {
            host: host.to_ascii_lowercase(),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

/// Whether a text is a host: a name with a dot, `localhost`, an address, or any of them with a port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !text.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    if let Some(address) = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.split('.').all(label)
        && (port.is_some() || name.contains('.') || name.eq_ignore_ascii_case("localhost"))
}

/// Parts of lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("it has no path after the host".to_owned());
    }
    if path.len() > LONGEST_PATH {
        return Err(format!("its path is longer than {LONGEST_PATH} bytes"));
    }
    match path.split('/').find(|part| !is_path_part(part)) {
        None => Ok(()),
        Some(part) => Err(format!(
            "`{part}` in its path is not of lower-case letters and digits, with `.`, `_`, `__` or `-` between them"
        )),
    }
}

fn is_path_part(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut between = part
        .split(|c: char| c.is_ascii() && word(c as u8))
        .filter(|separator| !separator.is_empty());
    part.bytes().next().is_some_and(word)
        && part.bytes().last().is_some_and(word)
        && between.all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let inner = |byte: u8| word(byte) || byte == b'.' || byte == b'-';
    if tag.len() <= LONGEST_TAG && tag.bytes().next().is_some_and(word) && tag.bytes().all(inner) {
        Ok(())
    } else {
        Err(format!(
            "`{tag}` is no tag; a tag has 1 to {LONGEST_TAG} letters, digits, `_`, `.` and `-`, and begins with none of the last two"
        ))
    }
}

fn check_digest(digest: &str) -> Result<(), String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let digits = digest.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(hex) {
        Ok(())
    } else {
        Err(format!(
            "`{digest}` is no digest; a digest is `sha256:` and 64 hexadecimal digits in lower case"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn all_parts_are_found() {
        let digest = Digest::of(b"bundle");
        let text = format!("registry.example.org:5000/apps/map-reduce:1.2.0@{digest}");
        let reference = parsed(&text);
        assert_eq!(reference.host(), "registry.example.org:5000");
        assert_eq!(reference.path(), "apps/map-reduce");
        assert_eq!(reference.tag(), Some("1.2.0"));
        assert_eq!(reference.digest(), Some(digest.to_string().as_str()));
        assert_eq!(reference.to_string(), text);
        assert_eq!(
            reference.of_signatures(&digest).to_string(),
            format!(
                "registry.example.org:5000/apps/map-reduce:sha256-{}.sig",
                digest.to_hex()
            )
        );
        assert_eq!(
            parsed("localhost/a").with_version("1.0.0+git").tag(),
            Some("1.0.0_git")
        );
        assert_eq!(parsed("oci://a.b/c").to_string(), "a.b/c");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for text in [
            "localhost/a",
            "localhost:5000/a",
            "127.0.0.1:5000/a",
            "127.8.0.1/a",
            "[::1]:5000/a",
            "[::1]/a",
        ] {
            assert!(parsed(text).is_loopback(), "{text}");
        }
        for text in [
            "localhost.example.org/a",
            "10.0.0.1:5000/a",
            "[2001:db8::1]/a",
        ] {
            assert!(!parsed(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn names_of_apps_and_paths_are_no_references() {
        for text in [
            "mapreduce",
            "mapreduce:1.0.0",
            "./a/b.taps",
            "../a",
            "/a/b",
            "a/b",
            "dir/app.wasm",
            "a.b/",
        ] {
            assert!(!Reference::looks_like_one(text), "{text}");
        }
        for text in ["a.b/c", "localhost/c", "host:5000/c:1"] {
            assert!(Reference::looks_like_one(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, reason) in [
            ("", "`` is no host"),
            ("mapreduce", "`mapreduce` is no host"),
            ("apps/mapreduce", "`apps` is no host"),
            ("host:99999/a", "`host:99999` is no host"),
            ("a..b/c", "`a..b` is no host"),
            ("https://a.b/c", "no scheme"),
            ("a.b", "no path"),
            ("a.b/", "no path"),
            ("a.b/Apps", "`Apps` in its path"),
            ("a.b/a//b", "`` in its path"),
            ("a.b/../b", "`..` in its path"),
            ("a.b/a___b", "`a___b` in its path"),
            ("a.b/a:", "`` is no tag"),
            ("a.b/a:-1", "`-1` is no tag"),
            ("a.b/a:1+2", "`1+2` is no tag"),
            ("a.b/a@sha256:12", "`sha256:12` is no digest"),
            ("a.b/a@md5:12", "`md5:12` is no digest"),
        ] {
            let error = text.parse::<Reference>().expect_err(text);
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    /// A part of a path, such as `map-reduce` and `a__b.c`.
    fn path_part() -> impl Strategy<Value = String> {
        "[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,8}){0,3}"
    }

    proptest! {
        #[test]
        fn whatever_is_a_reference_is_read(
            host in "[a-z0-9]{1,8}(\\.[a-z0-9-]{0,6}[a-z0-9]){1,3}",
            port in proptest::option::of(any::<u16>()),
            path in proptest::collection::vec(path_part(), 1..4),
            tag in proptest::option::of("[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"),
            digest in proptest::option::of("sha256:[0-9a-f]{64}"),
        ) {
            // A part that begins with a dash is no name of a host.
            prop_assume!(!host.contains(".-"));
            let host = port.map_or(host.clone(), |port| format!("{host}:{port}"));
            let path = path.join("/");
            let tagged = tag.as_ref().map_or_else(String::new, |tag| format!(":{tag}"));
            let pinned = digest.as_ref().map_or_else(String::new, |digest| format!("@{digest}"));
            let text = format!("{host}/{path}{tagged}{pinned}");
            let reference: Reference = text.parse().map_err(|error: ReferenceError| {
                TestCaseError::fail(error.to_string())
            })?;
            prop_assert_eq!(reference.host(), host);
            prop_assert_eq!(reference.path(), path);
            prop_assert_eq!(reference.tag(), tag.as_deref());
            prop_assert_eq!(reference.digest(), digest.as_deref());
            prop_assert_eq!(reference.to_string(), text);
        }

        #[test]
        fn whatever_is_read_is_written_as_it_was(text in "[a-zA-Z0-9.:/@_-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again: Reference = reference.to_string().parse().expect("it was one");
                prop_assert_eq!(&again, &reference);
                prop_assert!(Reference::looks_like_one(&text));
                let for_client = reference.for_client();
                prop_assert_eq!(for_client.repository(), reference.path());
            }
        }

        #[test]
        fn nothing_makes_the_reader_panic(text in ".{0,80}") {
            let _ = text.parse::<Reference>();
            let _ = Reference::looks_like_one(&text);
        }
    }
}
