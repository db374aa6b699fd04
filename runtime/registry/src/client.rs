//! The connection to one registry.

use crate::{Login, Places, Reference, RegistryError, credentials::Identity, error::Trouble};
use bytes::Bytes;
use oci_client::{
    Client, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};
use reqwest::{Method, RequestBuilder, Response, header};
use std::{path::PathBuf, time::Duration};
use taps_bundle::{ArchiveLimits, Digest};

/// How often a transfer is tried without getting any further, and how long is waited before the second try;
/// before each later one, twice as long.
pub(crate) const TRIES: u32 = 4;
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

const USER_AGENT: &str = concat!("taps-wasm/", env!("CARGO_PKG_VERSION"));

/// What is accepted as an answer to the question for a manifest: ours, and what others push, so that they can
/// be named.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// How long a registry may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To be connected to.
    pub connect: Duration,
    /// For the first contact as a whole, a server of tokens included.
    pub first_answer: Duration,
    /// Between two pieces of an answer.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_answer: Duration::from_secs(20),
            silence: Duration::from_secs(30),
        }
    }
}

/// The header in which a registry says the digest of a manifest.
const DIGEST_HEADER: &str = "Docker-Content-Digest";

/// How to speak to a registry.
#[derive(Clone, Debug)]
pub struct Options {
    /// A login that the user gave; otherwise `places` are asked.
    pub login: Option<Login>,
    /// Where logins are kept.
    pub places: Places,
    /// Speak HTTP without TLS. The own machine is spoken to so in any case.
    pub plain_http: bool,
    /// Directory in which downloads are kept while they are not whole.
    pub downloads: PathBuf,
    /// Most that is read.
    pub limits: ArchiveLimits,
    /// How long it may take.
    pub patience: Patience,
}

/// The connection to one registry, for one reference.
pub struct Registry {
    pub(crate) reference: Reference,
    pub(crate) options: Options,
    pub(crate) client: Client,
    http: reqwest::Client,
    identity: Identity,
    runtime: tokio::runtime::Runtime,
}

impl Registry {
    /// Makes ready; nothing is sent yet.
    pub fn open(reference: &Reference, options: Options) -> Result<Self, RegistryError> {
        let identity = match &options.login {
            Some(login) => Identity::of(login, "--username"),
            None => options.places.identity(reference)?,
        };
        // Fails only if there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| RegistryError::Client(error.to_string()))?;
        let plain = options.plain_http || reference.is_loopback();
        let patience = options.patience;
        let client = Client::try_from(ClientConfig {
            protocol: if plain {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            read_timeout: Some(patience.silence),
            connect_timeout: Some(patience.connect),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        })
        .map_err(|error| RegistryError::Client(error.to_string()))?;
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(patience.connect)
            .read_timeout(patience.silence)
            .build()
            .map_err(|error| RegistryError::Client(error.to_string()))?;
        Ok(Self {
            reference: reference.clone(),
            options,
            client,
            http,
            identity,
            runtime,
        })
    }

    /// The reference.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Runs something to its end.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.options.plain_http || self.reference.is_loopback()
    }

    /// The first contact: whether somebody answers, and lets us in. Not tried again, so that a wrong address or
    /// a missing network is told at once.
    pub(crate) async fn log_in(&self, operation: RegistryOperation) -> Result<(), RegistryError> {
        let reference = self.reference.for_client();
        let asked = self.client.auth(&reference, &self.identity.auth, operation);
        let longest = self.options.patience.first_answer;
        match tokio::time::timeout(longest, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match Trouble::of(&error) {
                Trouble::Transient(reason) => self.unreachable(reason),
                trouble => self.failure(trouble, "the answer"),
            }),
            Err(_) => {
                let reason = format!("no answer within {} s", longest.as_secs_f64());
                Err(self.unreachable(reason))
            }
        }
    }

    fn unreachable(&self, reason: String) -> RegistryError {
        RegistryError::Unreachable {
            reference: Box::new(self.reference.clone()),
            plain: self.is_plain(),
            reason,
        }
    }

    /// The failure that trouble with a part comes to.
    pub(crate) fn failure(&self, trouble: Trouble, what: &str) -> RegistryError {
        let reference = Box::new(self.reference.clone());
        match trouble {
            Trouble::Transient(reason) => RegistryError::Broken {
                reference,
                what: what.to_owned(),
                tries: TRIES,
                reason,
            },
            Trouble::Refused(reason) => RegistryError::Refused {
                reference,
                who: self.identity.who.clone(),
                reason,
            },
            Trouble::Missing { name: true } => RegistryError::NoName { reference },
            Trouble::Missing { name: false } => RegistryError::NoPart {
                reference,
                what: what.to_owned(),
            },
            Trouble::Digest { expected, found } => RegistryError::Digest {
                reference,
                what: what.to_owned(),
                found,
                expected,
            },
            Trouble::Other(status) => RegistryError::Answer { reference, status },
        }
    }

    /// Does something again while only the connection is to blame.
    pub(crate) async fn persistently<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match attempt().await {
                Err(Trouble::Transient(_)) => tokio::time::sleep(pause).await,
                ended => return ended,
            }
            pause *= 2;
        }
        attempt().await
    }

    /// The tags of the name, sorted, those of signatures left out.
    pub(crate) async fn tags(&self) -> Result<Vec<String>, Trouble> {
        const MOST: usize = 1000;
        let reference = self.reference.for_client();
        let asked = self
            .client
            .list_tags(&reference, &self.identity.auth, Some(MOST), None);
        let mut tags = asked.await.map_err(|error| Trouble::of(&error))?.tags;
        tags.retain(|tag| !(tag.starts_with("sha256-") && tag.len() > 64));
        tags.sort();
        Ok(tags)
    }

    /// A request for a manifest, with our login.
    ///
    /// Not by the client library: it reads answers of any size, and insists on headers that some registries do
    /// not send.
    async fn manifest_request(
        &self,
        method: Method,
        name: &str,
        operation: RegistryOperation,
    ) -> Result<RequestBuilder, Trouble> {
        let reference = self.reference.for_client();
        let host = reference.resolve_registry();
        let scheme = if self.is_plain() { "http" } else { "https" };
        let url = format!(
            "{scheme}://{host}/v2/{}/manifests/{name}",
            reference.repository()
        );
        let request = self.http.request(method, url);
        let token = self
            .client
            .auth(&reference, &self.identity.auth, operation)
            .await
            .map_err(|error| Trouble::of(&error))?;
        Ok(match (token, &self.identity.auth) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Bearer(token)) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(name, password)) => request.basic_auth(name, Some(password)),
            (None, RegistryAuth::Anonymous) => request,
        })
    }

    /// A manifest by tag or digest, as it is, with its digest, which was checked against what the registry says
    /// of it and against `name`, if that is one.
    pub(crate) async fn get_manifest(&self, name: &str) -> Result<(Vec<u8>, Digest), Trouble> {
        self.persistently(|| self.get_manifest_once(name)).await
    }

    async fn get_manifest_once(&self, name: &str) -> Result<(Vec<u8>, Digest), Trouble> {
        let response = self
            .manifest_request(Method::GET, name, RegistryOperation::Pull)
            .await?
            .header(header::ACCEPT, ACCEPTED)
            .send()
            .await
            .map_err(|error| Trouble::of_request(&error))?;
        let stated = response
            .headers()
            .get(DIGEST_HEADER)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = successful(response, self.options.limits.json).await?;
        let digest = Digest::of(&body);
        let found = digest.to_string();
        let expected = [Some(name.to_owned()), stated]
            .into_iter()
            .flatten()
            .find(|expected| expected.starts_with("sha256:") && *expected != found);
        match expected {
            Some(expected) => Err(Trouble::Digest { expected, found }),
            None => Ok((body, digest)),
        }
    }

    /// Whether the registry has this manifest under a tag or its digest.
    pub(crate) async fn has_manifest(&self, name: &str, digest: &Digest) -> Result<bool, Trouble> {
        let digest = digest.to_string();
        let asked = self.persistently(async || {
            let response = self
                .manifest_request(Method::HEAD, name, RegistryOperation::Push)
                .await?
                .header(header::ACCEPT, ACCEPTED)
                .send()
                .await
                .map_err(|error| Trouble::of_request(&error))?;
            // A registry that does not say what a tag stands for is told anew.
            let stated = response.headers().get(DIGEST_HEADER);
            let is_it = name == digest || stated.is_some_and(|stated| *stated == digest);
            match response.status().as_u16() {
                200 => Ok(is_it),
                404 => Ok(false),
                status => Err(Trouble::of_answer(status, b"")),
            }
        });
        asked.await
    }

    /// Stores a manifest under a tag or its digest.
    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        body: &Bytes,
    ) -> Result<(), Trouble> {
        let sent = self.persistently(async || {
            let response = self
                .manifest_request(Method::PUT, name, RegistryOperation::Push)
                .await?
                .header(header::CONTENT_TYPE, media_type)
                .body(body.clone())
                .send()
                .await
                .map_err(|error| Trouble::of_request(&error))?;
            successful(response, self.options.limits.json).await
        });
        sent.await.map(drop)
    }
}

/// The body of an answer that is a success, of at most so many bytes.
async fn successful(mut response: Response, most: u64) -> Result<Vec<u8>, Trouble> {
    /// Of an answer that is none, this much tells why.
    const OF_A_FAILURE: u64 = 64 << 10;
    let status = response.status();
    let most = if status.is_success() {
        most
    } else {
        most.min(OF_A_FAILURE)
    };
    let mut body = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| Trouble::of_request(&error))?
    {
        if (body.len() + piece.len()) as u64 > most {
            if status.is_success() {
                return Err(Trouble::Other(format!(
                    "{status} with a document of more than {most} bytes, which is the most that is read"
                )));
            }
            break;
        }
        body.extend_from_slice(&piece);
    }
    if status.is_success() {
        Ok(body)
    } else {
        Err(Trouble::of_answer(status.as_u16(), &body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Progress;
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
        sync::{Arc, Mutex},
        thread,
    };
    use tempfile::TempDir;

    /// What a registry does with a request.
    #[derive(Clone)]
    enum Answer {
        /// Says nothing, ever.
        Silence,
        /// Status, and body.
        Status(&'static str, String),
    }

    /// A registry that answers the contact and then each request in turn; the last answer for all others, too.
    fn registry(contact: Answer, answers: Vec<Answer>) -> (Registry, TempDir) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answers = Arc::new(Mutex::new(answers));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (contact, answers) = (contact.clone(), Arc::clone(&answers));
                thread::spawn(move || answer(stream, &contact, &answers));
            }
        });
        let reference = format!("127.0.0.1:{port}/apps/words:1");
        let downloads = tempfile::tempdir().expect("a directory");
        let options = Options {
            login: None,
            places: Places::default(),
            plain_http: false,
            downloads: downloads.path().to_owned(),
            limits: ArchiveLimits {
                json: 1000,
                ..ArchiveLimits::default()
            },
            patience: Patience {
                first_answer: Duration::from_millis(300),
                silence: Duration::from_millis(100),
                ..Patience::default()
            },
        };
        let reference = reference.parse().expect("a reference");
        let registry = Registry::open(&reference, options).expect("nothing is sent yet");
        (registry, downloads)
    }

    fn answer(mut stream: TcpStream, contact: &Answer, answers: &Mutex<Vec<Answer>>) {
        let mut head = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte).unwrap_or(0) == 1 {
            head.push(byte[0]);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let answer = if head.starts_with(b"GET /v2/ ") {
                contact.clone()
            } else {
                let mut answers = answers.lock().expect("no panic");
                if answers.len() > 1 {
                    answers.remove(0)
                } else {
                    answers[0].clone()
                }
            };
            head.clear();
            if let Answer::Status(status, body) = answer {
                let length = body.len();
                let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
                // Who is gone needs no answer.
                let _ = stream.write_all(text.as_bytes());
            }
        }
    }

    fn pull(contact: Answer, answers: Vec<Answer>) -> RegistryError {
        let (registry, _downloads) = registry(contact, answers);
        let pulled = registry.pull(&Progress::silent(), |_| None);
        pulled.expect_err("it is no bundle")
    }

    fn fine() -> Answer {
        Answer::Status("200 OK", "{}".to_owned())
    }

    #[test]
    fn who_never_answers_cannot_be_reached() {
        let error = pull(Answer::Silence, vec![fine()]);
        assert!(
            matches!(error, RegistryError::Unreachable { .. }),
            "{error}"
        );
    }

    #[test]
    fn who_falls_silent_is_given_up() {
        let error = pull(fine(), vec![Answer::Silence]);
        assert!(
            matches!(error, RegistryError::Broken { tries: TRIES, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_registry_that_is_busy_is_asked_again() {
        let busy = Answer::Status("503 Service Unavailable", "later".to_owned());
        let error = pull(fine(), vec![busy.clone(), busy.clone(), fine()]);
        assert!(matches!(error, RegistryError::NotABundle { .. }), "{error}");
        let error = pull(fine(), vec![busy]).to_string();
        assert!(error.contains("503: later"), "{error}");
    }

    #[test]
    fn a_document_that_is_too_large_is_not_read() {
        let large = Answer::Status("200 OK", " ".repeat(1001));
        let error = pull(fine(), vec![large]);
        assert!(matches!(error, RegistryError::Answer { .. }), "{error}");
        assert!(
            error.to_string().contains("more than 1000 bytes"),
            "{error}"
        );
    }
}
