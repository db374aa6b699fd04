//! A server of tokens, as public registries have one: it knows names and passwords, and signs what each may do.

use super::openssl::{base64, certificate, openssl};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// May pull and push.
pub(super) const WRITER: (&str, &str) = ("writer", "all-of-it");
/// May pull.
pub(super) const READER: (&str, &str) = ("reader", "just-looking");

/// The server, as long as the test has it.
pub(super) struct Tokens {
    signer: Signer,
    port: u16,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Who signs, with a key of its own.
#[derive(Clone)]
struct Signer {
    directory: Arc<TempDir>,
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread, which waits for somebody to ask.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            // A panic of the thread failed the test before.
            let _ = thread.join();
        }
    }
}

fn base64_of_urls(bytes: &[u8]) -> String {
    let text = base64(bytes).replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}

impl Tokens {
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        certificate(directory.path());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let signer = Signer {
            directory: Arc::new(directory),
        };
        let ended = Arc::new(AtomicBool::new(false));
        let (answering, over) = (signer.clone(), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Acquire) {
                    break;
                }
                answering.answer(stream);
            }
        });
        Self {
            signer,
            port,
            ended,
            thread: Some(thread),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.signer.certificate()
    }
}

impl Signer {
    fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let (status, body) = match self.token(&head) {
            Some(token) => ("200 OK", format!(r#"{{"token":"{token}"}}"#)),
            None => (
                "401 Unauthorized",
                r#"{"details":"incorrect username or password"}"#.to_owned(),
            ),
        };
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // Who is gone needs no answer.
        let _ = stream.write_all(text.as_bytes());
    }

    /// A token for what is asked for, as far as whoever asks may have it; anybody may have one for nothing.
    fn token(&self, head: &str) -> Option<String> {
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization")
                .then(|| value.trim().to_owned())
        };
        let given = head.lines().find_map(header);
        let is = |(name, password): (&str, &str)| {
            let expected = format!("Basic {}", base64(format!("{name}:{password}").as_bytes()));
            given.as_ref() == Some(&expected)
        };
        let may: &[&str] = match given {
            _ if is(WRITER) => &["pull", "push"],
            _ if is(READER) => &["pull"],
            None => &[],
            Some(_) => return None,
        };
        let query = head.split(' ').nth(1)?.split_once('?')?.1;
        let scope = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("scope="))?
            .replace("%3A", ":")
            .replace("%2F", "/")
            .replace("%2C", ",");
        let (_, rest) = scope.split_once("repository:")?;
        let (name, asked) = rest.rsplit_once(':')?;
        let actions: Vec<&str> = asked
            .split(',')
            .filter(|action| may.contains(action))
            .collect();
        Some(self.signed(name, &actions))
    }

    fn signed(&self, name: &str, actions: &[&str]) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let pem = fs::read_to_string(self.certificate()).expect("written before");
        let certificate: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let header = serde_json::json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
        let claims = serde_json::json!({
            "iss": "tests", "aud": "tests", "sub": "tests", "jti": "1",
            "iat": now, "nbf": now - 10, "exp": now + 300,
            "access": [{"type": "repository", "name": name, "actions": actions}],
        });
        let text = [header, claims]
            .map(|part| base64_of_urls(part.to_string().as_bytes()))
            .join(".");
        let key = self.directory.path().join("key.pem");
        let key = key.to_str().expect("UTF-8");
        let signature = openssl(&["dgst", "-sha256", "-sign", key], text.as_bytes());
        format!("{text}.{}", base64_of_urls(&signature))
    }
}
