//! What only who was told can know.

use crate::LiveError;
use std::fmt;

/// Random bytes of a secret: 128 bits.
const BYTES: usize = 16;

/// The part of the page's address that nobody guesses.
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new() -> Result<Self, LiveError> {
        random().map(Self).map_err(LiveError::Random)
    }

    /// What follows the secret in a path that begins with it. How much of it is right does not show in the time
    /// that this takes.
    pub(crate) fn after<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (given, after) = path.strip_prefix('/')?.split_at_checked(self.0.len())?;
        let pairs = given.bytes().zip(self.0.bytes());
        let difference = pairs.fold(0, |difference, (one, other)| difference | (one ^ other));
        (std::hint::black_box(difference) == 0).then_some(after)
    }
}

/// As it stands in an address.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Never shown by accident.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What marks the scripts of one answer as this program's own.
pub(crate) struct Nonce(String);

impl Nonce {
    pub(crate) fn new() -> Option<Self> {
        random().ok().map(Self)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_opens() {
        let secret = Secret::new().expect("random bytes");
        let text = secret.to_string();
        assert_eq!(text.len(), 2 * BYTES);
        assert_eq!(secret.after(&format!("/{text}/")), Some("/"));
        assert_eq!(secret.after(&format!("/{text}/x/y")), Some("/x/y"));
        let other = Secret::new().expect("random bytes").to_string();
        let wrong = [
            "/".to_owned(),
            String::new(),
            text.clone(),
            format!("/{other}/"),
            format!("/{}/", &text[1..]),
            format!("//{text}/"),
            format!("/{}/", text.to_uppercase()),
            format!("/{}é/", &text[..text.len() - 1]),
        ];
        for path in wrong {
            // Upper case is the same where there are no letters.
            let is_same = path.get(1..=text.len()) == Some(text.as_str());
            assert!(is_same || secret.after(&path).is_none(), "{path}");
        }
        assert!(!format!("{secret:?}").contains(&text));
    }
}
