//! Sending a bundle.

use crate::{
    Progress, Reference, Registry, RegistryError,
    error::{Trouble, part},
    progress::Meter,
};
use bytes::Bytes;
use futures_util::stream;
use oci_client::{RegistryOperation, errors::OciDistributionError};
use taps_bundle::{
    Bundle, Digest,
    oci::{Descriptor, TITLE},
};

/// What is sent at once, in bytes: so much has to go within the time in which an answer is awaited.
const PIECE: usize = 2 << 20;

/// What a push did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Parts that were sent, and their bytes.
    pub sent: usize,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Parts that the registry had already.
    pub present: usize,
    /// Bytes that the registry had already.
    pub present_bytes: u64,
}

impl Pushed {
    pub(crate) fn count(&mut self, bytes: u64, was_sent: bool) {
        if was_sent {
            self.sent += 1;
            self.sent_bytes += bytes;
        } else {
            self.present += 1;
            self.present_bytes += bytes;
        }
    }
}

impl Registry {
    /// Sends a bundle, and gives the reference by which it is found: that of this connection, with the app's
    /// version as the tag where it has none. Parts that the registry has are not sent. The tag is set at the
    /// end, so nobody finds half of a bundle.
    pub fn push(
        &self,
        bundle: &Bundle,
        progress: &Progress,
    ) -> Result<(Reference, Pushed), RegistryError> {
        let digest = bundle.digest();
        let reference = match self.reference.tag() {
            Some(_) => self.reference.clone(),
            None => self.reference.with_version(&bundle.app().version),
        };
        // The version may be what no tag can be.
        let reference: Reference = reference.to_string().parse()?;
        if let Some(expected) = self.reference.digest()
            && expected != digest.to_string()
        {
            return Err(RegistryError::OtherBundle {
                reference: Box::new(self.reference.clone()),
                digest,
            });
        }
        let tag = reference.tag().unwrap_or_default().to_owned();
        let pushed = self.wait(self.push_all(bundle, &tag, &Meter::new(progress)))?;
        Ok((reference.with_tag(&tag).with_digest(&digest), pushed))
    }

    async fn push_all(
        &self,
        bundle: &Bundle,
        tag: &str,
        meter: &Meter,
    ) -> Result<Pushed, RegistryError> {
        self.log_in(RegistryOperation::Push).await?;
        let layout = bundle.layout();
        meter.expect(layout.size());
        let mut pushed = Pushed::default();
        // What is referred to comes before what refers to it, the index last.
        for blob in layout.blobs() {
            let descriptor = &blob.descriptor;
            let bytes = Bytes::copy_from_slice(&blob.bytes);
            let was_sent = if descriptor.digest == layout.index.descriptor.digest {
                self.push_document(descriptor, tag, bytes, meter).await
            } else if descriptor.is_manifest() {
                let name = descriptor.digest.to_string();
                self.push_document(descriptor, &name, bytes, meter).await
            } else {
                self.push_blob(descriptor, bytes, meter).await
            };
            pushed.count(descriptor.size, was_sent?);
        }
        Ok(pushed)
    }

    /// Sends a manifest or an index, unless the registry has it under this name: a tag, or its digest.
    pub(crate) async fn push_document(
        &self,
        descriptor: &Descriptor,
        name: &str,
        bytes: Bytes,
        meter: &Meter,
    ) -> Result<bool, RegistryError> {
        let failed = |trouble| self.failure(trouble, &name_of(descriptor));
        let asked = self.has_manifest(name, &descriptor.digest).await;
        let present = asked.map_err(failed)?;
        if !present {
            self.put_manifest(name, &descriptor.media_type, &bytes)
                .await
                .map_err(failed)?;
        }
        meter.advance(descriptor.size);
        Ok(!present)
    }

    /// Sends a blob, unless the registry has it.
    pub(crate) async fn push_blob(
        &self,
        descriptor: &Descriptor,
        bytes: Bytes,
        meter: &Meter,
    ) -> Result<bool, RegistryError> {
        let start = meter.position();
        let sent = self.persistently(async || {
            meter.set(start);
            self.push_blob_once(&descriptor.digest, bytes.clone(), meter)
                .await
        });
        let was_sent = sent
            .await
            .map_err(|trouble| self.failure(trouble, &name_of(descriptor)))?;
        meter.set(start + descriptor.size);
        Ok(was_sent)
    }

    async fn push_blob_once(
        &self,
        digest: &Digest,
        bytes: Bytes,
        meter: &Meter,
    ) -> Result<bool, Trouble> {
        let trouble = |error: OciDistributionError| Trouble::of(&error);
        let reference = self.reference.for_client();
        let digest = digest.to_string();
        let asked = self.client.blob_exists(&reference, &digest);
        if asked.await.map_err(trouble)? {
            return Ok(false);
        }
        let size = bytes.len() as u64;
        let pieces = pieces(bytes.clone(), meter.clone());
        let sent = self
            .client
            .push_blob_stream(&reference, pieces, &digest, Some(size))
            .await;
        match sent {
            Ok(_) => Ok(true),
            // Some registries take a blob in one request only, to which the client library falls back.
            Err(OciDistributionError::SpecViolationError(_)) => {
                let sent = self.client.push_blob(&reference, bytes, &digest);
                sent.await.map(|_| true).map_err(trouble)
            }
            Err(error) => Err(trouble(error)),
        }
    }
}

fn name_of(descriptor: &Descriptor) -> String {
    part(descriptor.annotations.get(TITLE), &descriptor.digest)
}

/// A blob in pieces; each counts when the next one is asked for, that is, when it is gone.
fn pieces(
    mut rest: Bytes,
    meter: Meter,
) -> impl futures_util::Stream<Item = Result<Bytes, OciDistributionError>> + Send + 'static {
    let mut gone = 0;
    stream::iter(std::iter::from_fn(move || {
        meter.advance(gone);
        let piece = rest.split_to(rest.len().min(PIECE));
        gone = piece.len() as u64;
        (!piece.is_empty()).then_some(Ok(piece))
    }))
}
