//! Signatures in a registry.
//!
//! They are an artifact of their own, under the tag `sha256-<hex of the bundle>.sig`: registries without the API
//! of referrers find them by it. The artifact names the bundle as its subject, so registries with that API list
//! it there as well.

use crate::{Progress, Reference, Registry, RegistryError, error::Trouble, progress::Meter};
use bytes::Bytes;
use oci_client::RegistryOperation;
use serde::{Deserialize, Serialize};
use taps_bundle::{
    Digest,
    oci::{Descriptor, EMPTY, EMPTY_BYTES, INDEX, MANIFEST},
    sign::{SIGNATURE_FILE_MAX_BYTES, SIGNATURE_MEDIA_TYPE, SignatureError, SignatureFile},
};

/// The manifest of the artifact of signatures.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignatureManifest {
    schema_version: u32,
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
}

impl Registry {
    /// Sends signatures of a bundle. Those by other keys that are there stay. Gives the reference under which
    /// they are found, and whether anything was new.
    pub fn push_signatures(
        &self,
        file: &SignatureFile,
    ) -> Result<(Reference, bool), RegistryError> {
        self.wait(async {
            self.log_in(RegistryOperation::Push).await?;
            self.push_signature_file(file).await
        })
    }

    /// The signatures of a bundle, if there are any. They are not verified here: whose they are is for the
    /// caller, who knows the keys.
    pub fn pull_signatures(&self, bundle: &Digest) -> Result<Option<SignatureFile>, RegistryError> {
        self.make_downloads()?;
        self.wait(async {
            self.log_in(RegistryOperation::Pull).await?;
            self.find_signatures(bundle).await
        })
    }

    async fn find_signatures(
        &self,
        bundle: &Digest,
    ) -> Result<Option<SignatureFile>, RegistryError> {
        let place = self.reference.of_signatures(bundle);
        let tag = place.tag().unwrap_or_default();
        let (body, digest) = match self.get_manifest(tag).await {
            Ok(found) => found,
            Err(Trouble::Missing { .. }) => return Ok(None),
            Err(trouble) => return Err(self.failure(trouble, "the signatures")),
        };
        let not_signatures = |found: String| RegistryError::NotABundle {
            reference: Box::new(place.clone()),
            found,
        };
        let manifest: SignatureManifest = serde_json::from_slice(&body)
            .map_err(|_| not_signatures(format!("no artifact of signatures ({digest})")))?;
        let [layer] = manifest.layers.as_slice() else {
            let count = manifest.layers.len();
            return Err(not_signatures(format!(
                "an artifact of {count} parts, not of signatures"
            )));
        };
        if layer.media_type != SIGNATURE_MEDIA_TYPE {
            let found = layer.media_type.escape_debug();
            return Err(not_signatures(format!("`{found}`, not signatures")));
        }
        if layer.size > SIGNATURE_FILE_MAX_BYTES as u64 {
            let size = layer.size as usize;
            return Err(refused(&place, SignatureError::TooLong { size }));
        }
        let came = self
            .download(layer, &Meter::new(&Progress::silent()))
            .await?;
        self.forget(&[layer.digest]);
        let file = SignatureFile::from_json(&came.bytes).map_err(|error| refused(&place, error))?;
        if file.bundle != *bundle {
            let error = SignatureError::OtherBundle {
                bundle: *bundle,
                signed: file.bundle,
            };
            return Err(refused(&place, error));
        }
        Ok(Some(file))
    }

    async fn push_signature_file(
        &self,
        file: &SignatureFile,
    ) -> Result<(Reference, bool), RegistryError> {
        let place = self.reference.of_signatures(&file.bundle);
        self.make_downloads()?;
        let there = self.find_signatures(&file.bundle).await?;
        let merged = match there.clone() {
            Some(mut merged) => {
                merged
                    .merge(file.clone())
                    .map_err(|error| refused(&place, error))?;
                merged
            }
            None => file.clone(),
        };
        if there.as_ref().is_some_and(|there| same(there, &merged)) {
            return Ok((place, false));
        }
        let meter = Meter::new(&Progress::silent());
        let text = Bytes::from(merged.to_json());
        let layer = Descriptor::of(SIGNATURE_MEDIA_TYPE, &text);
        let config = Descriptor::of(EMPTY, EMPTY_BYTES);
        self.push_blob(&config, Bytes::from_static(EMPTY_BYTES), &meter)
            .await?;
        self.push_blob(&layer, text, &meter).await?;
        let manifest = SignatureManifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: SIGNATURE_MEDIA_TYPE.to_owned(),
            config,
            layers: vec![layer],
            subject: Some(self.subject(&file.bundle).await?),
        };
        let body = serde_json::to_vec(&manifest)
            .map_err(|error| RegistryError::Client(error.to_string()))?;
        let descriptor = Descriptor::of(MANIFEST, &body);
        let tag = place.tag().unwrap_or_default();
        self.push_document(&descriptor, tag, Bytes::from(body), &meter)
            .await?;
        Ok((place, true))
    }

    /// The bundle in the registry, which has to be there.
    async fn subject(&self, bundle: &Digest) -> Result<Descriptor, RegistryError> {
        let name = bundle.to_string();
        let (body, digest) = self
            .get_manifest(&name)
            .await
            .map_err(|trouble| self.failure(trouble, &format!("the bundle {name}")))?;
        Ok(Descriptor::new(INDEX, digest, body.len() as u64))
    }
}

fn refused(place: &Reference, source: SignatureError) -> RegistryError {
    RegistryError::Signatures {
        reference: Box::new(place.clone()),
        source: Box::new(source),
    }
}

/// Whether two files hold the same signatures, in whatever order.
fn same(one: &SignatureFile, other: &SignatureFile) -> bool {
    one.signatures.len() == other.signatures.len()
        && one
            .signatures
            .iter()
            .all(|signature| other.signatures.contains(signature))
}
