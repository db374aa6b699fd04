//! What `openssl` does for the tests: keys, certificates, signatures.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs `openssl` on some input.
pub(super) fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {said}");
    output.stdout
}

pub(super) fn base64(bytes: &[u8]) -> String {
    String::from_utf8(openssl(&["base64", "-A"], bytes)).expect("it is text")
}

/// In hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let said = openssl(&["dgst", "-sha256", "-r"], bytes);
    String::from_utf8_lossy(&said[..64]).into_owned()
}

/// Makes `key.pem`, and `certificate.pem` of it for the address `0.0.0.0`; gives the latter.
pub(super) fn certificate(directory: &Path) -> PathBuf {
    let path = |name: &str| {
        let path = directory.join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    openssl(
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=tests",
            "-addext",
            "subjectAltName=IP:0.0.0.0",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ],
        b"",
    );
    certificate.into()
}
