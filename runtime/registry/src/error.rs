//! Why a bundle could not be sent or brought.

use crate::{Reference, ReferenceError};
use oci_client::errors::{DigestError, OciDistributionError, OciEnvelope, OciErrorCode};
use std::{error::Error, fmt::Write as _, io, path::PathBuf};
use taps_bundle::{BundleError, Digest, sign::SignatureError};

/// Why a bundle could not be sent or brought.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The reference is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A reference without a tag and without a digest, of which nobody can tell what is meant.
    #[error("{reference} names no version; {}", tags_text(.tags))]
    NoVersion {
        /// The reference.
        reference: Box<Reference>,
        /// The tags there are.
        tags: Vec<String>,
    },
    /// The file of logins, or the helper it names, is of no use.
    #[error("logins of registries: {place}: {reason}")]
    Credentials {
        /// The file.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Nobody answers.
    #[error("{reference}: {} cannot be reached by {}: {reason}", .reference.host(), if *.plain { "HTTP" } else { "HTTPS" })]
    Unreachable {
        /// What was asked for.
        reference: Box<Reference>,
        /// Whether it was tried without TLS.
        plain: bool,
        /// Why, from the system.
        reason: String,
    },
    /// The connection broke, again and again.
    #[error("{reference}: the connection to {} broke {tries} times in a row at {what}: {reason}", .reference.host())]
    Broken {
        /// What was asked for.
        reference: Box<Reference>,
        /// Which part.
        what: String,
        /// How often it was tried without getting further.
        tries: u32,
        /// Why, at last.
        reason: String,
    },
    /// The registry does not let us.
    #[error("{reference}: {} refuses {who}: {reason}", .reference.host())]
    Refused {
        /// What was asked for.
        reference: Box<Reference>,
        /// Who we were.
        who: String,
        /// What the registry says.
        reason: String,
    },
    /// The registry has nothing of this name.
    #[error("{reference}: {} has no `{}`", .reference.host(), .reference.path())]
    NoName {
        /// What was asked for.
        reference: Box<Reference>,
    },
    /// There is no such tag.
    #[error("{reference}: `{}` has no tag `{}`; {}", .reference.path(), .reference.tag().unwrap_or_default(), tags_text(.tags))]
    NoTag {
        /// What was asked for.
        reference: Box<Reference>,
        /// The tags there are.
        tags: Vec<String>,
    },
    /// A part is not there, though the reference or the bundle names it.
    #[error("{reference}: {what} is not in `{}`", .reference.path())]
    NoPart {
        /// What was asked for.
        reference: Box<Reference>,
        /// What is missing.
        what: String,
    },
    /// A push to a digest, which is that of another bundle.
    #[error("{reference} names another bundle than this one, which is {digest}")]
    OtherBundle {
        /// Where it should go.
        reference: Box<Reference>,
        /// What would go there.
        digest: Digest,
    },
    /// Something else than a bundle has this name.
    #[error("{reference} is no taps-wasm bundle: it is {found}")]
    NotABundle {
        /// What was asked for.
        reference: Box<Reference>,
        /// What it is.
        found: String,
    },
    /// Something else came than was asked for.
    #[error("{reference}: what came as {what} has digest {found}{}", expected_text(.what, .expected))]
    Digest {
        /// What was asked for.
        reference: Box<Reference>,
        /// Which part.
        what: String,
        /// Digest of what came, or how it differs.
        found: String,
        /// Digest asked for.
        expected: String,
    },
    /// A part is larger or smaller than it should be.
    #[error("{reference}: {what} {found}; expected {expected}")]
    Size {
        /// What was asked for.
        reference: Box<Reference>,
        /// Which part.
        what: String,
        /// What came.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Any other answer of the registry.
    #[error("{reference}: {} answers {status}", .reference.host())]
    Answer {
        /// What was asked for.
        reference: Box<Reference>,
        /// Status and message.
        status: String,
    },
    /// The parts came, and are no bundle.
    #[error("{reference}")]
    Bundle {
        /// What was asked for.
        reference: Box<Reference>,
        /// Why.
        source: Box<BundleError>,
    },
    /// The file of signatures is not what it should be.
    #[error("{reference}")]
    Signatures {
        /// Where it came from.
        reference: Box<Reference>,
        /// Why.
        source: Box<SignatureError>,
    },
    /// A download cannot be kept.
    #[error("keep the download in {path}")]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The client cannot be set up.
    #[error("set up the client of registries: {0}")]
    Client(String),
}

/// What kind of failure it is, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the user named is wrong.
    Usage,
    /// What came is no bundle, or not the one asked for.
    Bundle,
    /// The registry, the network or this machine failed.
    Outside,
}

impl RegistryError {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Reference(_)
            | Self::NoVersion { .. }
            | Self::OtherBundle { .. }
            | Self::Credentials { .. }
            | Self::NoName { .. }
            | Self::NoTag { .. } => Kind::Usage,
            Self::NotABundle { .. }
            | Self::NoPart { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::Bundle { .. }
            | Self::Signatures { .. } => Kind::Bundle,
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Refused { .. }
            | Self::Answer { .. }
            | Self::Keep { .. }
            | Self::Client(_) => Kind::Outside,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Reference(_) => "as in registry.example.org/apps/mapreduce:1.0.0".to_owned(),
            Self::NoVersion { reference, tags } => match tags.first() {
                Some(tag) => format!("name one of them: {}", reference.with_tag(tag)),
                None => format!("name it: {}", reference.with_tag("VERSION")),
            },
            Self::Credentials { .. } => {
                "correct it, or give a login with --username NAME --password-stdin".to_owned()
            }
            Self::Unreachable { plain, reason, .. } => unreachable_hint(*plain, reason),
            Self::Broken { .. } => {
                "do it again: what has come or gone already is not moved again".to_owned()
            }
            Self::Refused { reference, who, .. } => refused_hint(reference, who),
            Self::NoName { .. } => {
                "check the path; a registry may also deny what only a login may see: --username NAME --password-stdin".to_owned()
            }
            Self::NoTag { reference, tags } => match tags.first() {
                Some(tag) => format!("name one of them: {}", reference.with_tag(tag)),
                None => "check the path and the tag".to_owned(),
            },
            Self::NotABundle { reference, .. } => format!(
                "`taps-wasm bundle push` makes bundles in registries; `skopeo inspect --raw docker://{reference}` shows what this is"
            ),
            Self::NoPart { .. } => {
                "it was deleted, or never pushed as a whole; check the digest, or have the bundle pushed again".to_owned()
            }
            Self::OtherBundle { .. } => "leave the digest out".to_owned(),
            Self::Digest { .. } | Self::Size { .. } => {
                "what the registry holds was changed or damaged; have the bundle pushed again".to_owned()
            }
            Self::Bundle { .. } | Self::Signatures { .. } | Self::Answer { .. } => return None,
            Self::Keep { .. } => {
                "free space there, or name another place with XDG_CACHE_HOME".to_owned()
            }
            Self::Client(_) => "check SSL_CERT_FILE and SSL_CERT_DIR, if they are set".to_owned(),
        };
        Some(hint)
    }
}

fn unreachable_hint(plain: bool, reason: &str) -> String {
    if plain {
        return "check the address and the network; without a network, a bundle that is in the cache or in a file runs as well".to_owned();
    }
    if reason.contains("InvalidContentType") {
        return "it speaks no TLS; if that is meant, --plain-http".to_owned();
    }
    if reason.contains("certificate") {
        return "name the certificate of its authority in the file SSL_CERT_FILE; --plain-http goes without TLS".to_owned();
    }
    "check the address and the network, and HTTPS_PROXY if there is one; without a network, a bundle that is in the cache or in a file runs as well".to_owned()
}

fn refused_hint(reference: &Reference, who: &str) -> String {
    let host = reference.host();
    if who.starts_with('`') {
        return format!(
            "check the name, the password and what it may do; --username NAME --password-stdin, `skopeo login {host}` or `docker login {host}` set another login"
        );
    }
    format!(
        "log in: --username NAME --password-stdin, or once with `skopeo login {host}` or `docker login {host}`"
    )
}

/// Left out where it is said already.
fn expected_text(what: &str, expected: &str) -> String {
    if what.contains(expected) {
        return String::new();
    }
    format!("; expected {expected}")
}

fn tags_text(tags: &[String]) -> String {
    const SHOWN: usize = 8;
    if tags.is_empty() {
        return "no tag is known".to_owned();
    }
    let mut text = format!("there is {}", tags[..tags.len().min(SHOWN)].join(", "));
    if tags.len() > SHOWN {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", tags.len() - SHOWN);
    }
    text
}

/// What an error of the client library comes to.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection failed or broke; trying again may help.
    Transient(String),
    /// Not without another login.
    Refused(String),
    /// It is not there: the name, if `name`, or what is below it.
    Missing { name: bool },
    /// The digest of what came.
    Digest { expected: String, found: String },
    /// Anything else, for good.
    Other(String),
}

impl Trouble {
    /// Of an answer that is no success.
    pub(crate) fn of_answer(status: u16, body: &[u8]) -> Self {
        let envelope: Option<OciEnvelope> = serde_json::from_slice(body).ok();
        let message = match &envelope {
            Some(envelope) => said(envelope),
            None => short(&String::from_utf8_lossy(body)),
        };
        let text = if message.is_empty() {
            status.to_string()
        } else {
            format!("{status}: {message}")
        };
        let has = |code: OciErrorCode| {
            envelope
                .as_ref()
                .is_some_and(|envelope| envelope.errors.iter().any(|error| error.code == code))
        };
        match status {
            401 | 403 => Self::Refused(text),
            404 => Self::Missing {
                name: has(OciErrorCode::NameUnknown),
            },
            408 | 429 | 500..=599 => Self::Transient(text),
            _ if has(OciErrorCode::Unauthorized) || has(OciErrorCode::Denied) => {
                Self::Refused(text)
            }
            _ => Self::Other(text),
        }
    }

    /// Of a request that had no answer, or one that is no success.
    pub(crate) fn of_request(error: &reqwest::Error) -> Self {
        if let Some(status) = error.status() {
            return Self::of_answer(status.as_u16(), b"");
        }
        let reason = chain(error);
        if error.is_builder() || error.is_redirect() {
            Self::Other(reason)
        } else {
            Self::Transient(reason)
        }
    }

    pub(crate) fn of(error: &OciDistributionError) -> Self {
        use OciDistributionError as E;
        match error {
            E::RequestError(error) => Self::of_request(error),
            E::ServerError { code, message, .. } => Self::of_answer(*code, message.as_bytes()),
            E::UnauthorizedError { .. } => Self::Refused("401".to_owned()),
            E::AuthenticationFailure(reason) => Self::Refused(token_reason(reason)),
            E::RegistryTokenDecodeError(reason) => {
                Self::Refused(format!("its token cannot be read: {reason}"))
            }
            E::RegistryError { envelope, .. } => Self::of_envelope(envelope),
            E::DigestError(DigestError::VerificationError { expected, actual }) => Self::Digest {
                expected: expected.clone(),
                found: actual.clone(),
            },
            E::IoError(error) => Self::Transient(chain(error)),
            other => Self::Other(chain(other)),
        }
    }

    fn of_envelope(envelope: &OciEnvelope) -> Self {
        let has = |code| envelope.errors.iter().any(|error| error.code == code);
        let text = said(envelope);
        if has(OciErrorCode::Unauthorized) || has(OciErrorCode::Denied) {
            Self::Refused(text)
        } else if has(OciErrorCode::NameUnknown) {
            Self::Missing { name: true }
        } else if has(OciErrorCode::ManifestUnknown)
            || has(OciErrorCode::NotFound)
            || has(OciErrorCode::BlobUnknown)
        {
            Self::Missing { name: false }
        } else if has(OciErrorCode::Toomanyrequests) {
            Self::Transient(text)
        } else {
            Self::Other(text)
        }
    }
}

/// What a server of tokens says, without the JSON around it.
fn token_reason(text: &str) -> String {
    if let Ok(envelope) = serde_json::from_str::<OciEnvelope>(text) {
        return said(&envelope);
    }
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let field = ["details", "error_description", "message", "error"]
        .iter()
        .find_map(|name| json[name].as_str());
    match field.map_or_else(|| short(text), short) {
        empty if empty.is_empty() => "its server of tokens gives no reason".to_owned(),
        reason => reason,
    }
}

fn said(envelope: &OciEnvelope) -> String {
    let each = envelope.errors.iter().map(|error| short(&error.message));
    each.collect::<Vec<_>>().join("; ")
}

/// The first line of a text, without what would spoil a terminal.
fn short(text: &str) -> String {
    const LONGEST: usize = 200;
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect()
}

/// An error with its causes, each once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        next = cause.source();
    }
    text
}

/// A part, in messages: by its title if it has one, and by its digest.
pub(crate) fn part(title: Option<&String>, digest: &Digest) -> String {
    match title {
        Some(title) => format!("`{}` ({digest})", short(title)),
        None => format!("the part {digest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let body = |code: &str| {
            format!(r#"{{"errors":[{{"code":"{code}","message":"so it is"}}]}}"#).into_bytes()
        };
        let of = |status, code: &str| Trouble::of_answer(status, &body(code));
        assert!(
            matches!(of(401, "UNAUTHORIZED"), Trouble::Refused(text) if text == "401: so it is")
        );
        assert!(matches!(of(400, "DENIED"), Trouble::Refused(_)));
        assert!(matches!(
            of(404, "NAME_UNKNOWN"),
            Trouble::Missing { name: true }
        ));
        assert!(matches!(
            of(404, "MANIFEST_UNKNOWN"),
            Trouble::Missing { name: false }
        ));
        assert!(matches!(of(503, "WHATEVER"), Trouble::Transient(_)));
        assert!(matches!(of(429, "TOOMANYREQUESTS"), Trouble::Transient(_)));
        assert!(matches!(of(400, "MANIFEST_INVALID"), Trouble::Other(_)));
        assert!(
            matches!(Trouble::of_answer(500, b"<html>\nmuch"), Trouble::Transient(text) if text == "500: <html>")
        );
    }

    #[test]
    fn servers_of_tokens_say_why_in_many_ways() {
        for (text, says) in [
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            (r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, "no"),
            ("forbidden\x1b[31m\nmore", "forbidden[31m"),
            ("", "its server of tokens gives no reason"),
        ] {
            assert_eq!(token_reason(text), says);
        }
    }

    #[test]
    fn tags_are_listed_up_to_a_few() {
        let tags: Vec<String> = (0..10).map(|index| index.to_string()).collect();
        assert_eq!(tags_text(&[]), "no tag is known");
        assert_eq!(tags_text(&tags[..2]), "there is 0, 1");
        assert!(tags_text(&tags).ends_with("7 and 2 more"));
    }
}
