//! Bringing a bundle.

use crate::{
    Progress, Registry, RegistryError,
    error::{Trouble, part},
    progress::Meter,
};
use oci_client::RegistryOperation;
use serde::Deserialize;
use taps_bundle::{
    Bundle, BundleError, Digest, Source,
    oci::{BUNDLE, Descriptor, INDEX, TITLE},
};

/// A bundle that was brought, with every digest checked.
#[derive(Debug)]
pub struct Pulled {
    /// The bundle.
    pub bundle: Bundle,
    /// Bytes that came over the network.
    pub fetched_bytes: u64,
    /// Bytes that were here: all, or what an earlier pull that broke had left.
    pub kept_bytes: u64,
}

/// What a manifest or an index is, as far as telling a bundle from anything else needs it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Head {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Described>,
    layers: Vec<Described>,
    manifests: Option<Vec<serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    media_type: String,
    size: u64,
}

impl Registry {
    /// Brings the bundle. `kept` gives the bundle of a digest if it is here already; otherwise the parts that an
    /// earlier pull left here are not fetched again.
    pub fn pull(
        &self,
        progress: &Progress,
        kept: impl FnOnce(&Digest) -> Option<Bundle>,
    ) -> Result<Pulled, RegistryError> {
        let meter = Meter::new(progress);
        self.wait(self.log_in(RegistryOperation::Pull))?;
        let (index, digest) = self.wait(self.find())?;
        if let Some(bundle) = kept(&digest) {
            let fetched_bytes = index.len() as u64;
            return Ok(Pulled {
                kept_bytes: bundle.layout().size() - fetched_bytes,
                fetched_bytes,
                bundle,
            });
        }
        self.make_downloads()?;
        meter.expect(index.len() as u64);
        let descriptor = Descriptor::index(digest, index.len() as u64);
        let mut puller = Puller {
            registry: self,
            meter,
            index: Some((digest, index)),
            fetched: 0,
            kept: 0,
            parts: Vec::new(),
        };
        let source = Source::Registry(self.reference.to_string());
        let limits = self.options.limits;
        let bundle = Bundle::from_layout(&descriptor, source, &limits, |part| puller.part(part))
            .map_err(|error| self.refused_bundle(error))?;
        self.forget(&puller.parts);
        Ok(Pulled {
            bundle,
            fetched_bytes: puller.fetched,
            kept_bytes: puller.kept,
        })
    }

    /// Our own errors come back as they were; those of the parts are errors of the bundle.
    fn refused_bundle(&self, error: BundleError) -> RegistryError {
        let error = match error {
            BundleError::Fetch { digest, source } => match source.downcast::<RegistryError>() {
                Ok(error) => return *error,
                Err(source) => BundleError::Fetch { digest, source },
            },
            other => other,
        };
        RegistryError::Bundle {
            reference: Box::new(self.reference.clone()),
            source: Box::new(error),
        }
    }

    /// The index of the bundle, with its digest.
    async fn find(&self) -> Result<(Vec<u8>, Digest), RegistryError> {
        let reference = Box::new(self.reference.clone());
        let Some(name) = reference.digest().or(reference.tag()) else {
            return match self.tags().await {
                Ok(tags) => Err(RegistryError::NoVersion { reference, tags }),
                Err(trouble) => Err(self.absent(trouble)),
            };
        };
        let (body, digest) = match self.get_manifest(name).await {
            Ok(found) => found,
            Err(Trouble::Missing { .. }) if reference.digest().is_none() => {
                return Err(match self.tags().await {
                    Ok(tags) => RegistryError::NoTag { reference, tags },
                    Err(trouble) => self.absent(trouble),
                });
            }
            Err(trouble) => {
                let what = match reference.digest() {
                    Some(digest) => format!("the bundle {digest}"),
                    None => format!("the tag `{name}`"),
                };
                return Err(self.failure(trouble, &what));
            }
        };
        match what_it_is(&body) {
            None => Ok((body, digest)),
            Some(found) => Err(RegistryError::NotABundle { reference, found }),
        }
    }

    /// When not even the tags are known.
    fn absent(&self, trouble: Trouble) -> RegistryError {
        match trouble {
            Trouble::Missing { .. } => RegistryError::NoName {
                reference: Box::new(self.reference.clone()),
            },
            trouble => self.failure(trouble, "the list of tags"),
        }
    }
}

/// What a document is, unless it is the index of a bundle.
fn what_it_is(body: &[u8]) -> Option<String> {
    let Ok(head) = serde_json::from_slice::<Head>(body) else {
        return Some("no JSON document".to_owned());
    };
    let artifact = head.artifact_type.as_deref();
    if artifact == Some(BUNDLE)
        && head
            .media_type
            .as_deref()
            .is_none_or(|found| found == INDEX)
    {
        return None;
    }
    let kind = match (&head.manifests, &head.config) {
        (Some(_), _) => "an index of images",
        (None, Some(_)) => "an image or artifact",
        (None, None) => "a document of another kind",
    };
    let named = artifact
        .or_else(|| {
            head.config
                .as_ref()
                .map(|config| config.media_type.as_str())
        })
        .or(head.media_type.as_deref());
    Some(match named {
        Some(named) => format!("{kind} ({})", named.escape_debug()),
        None => kind.to_owned(),
    })
}

/// Fetches the parts of one bundle.
struct Puller<'a> {
    registry: &'a Registry,
    meter: Meter,
    /// The index, which came first.
    index: Option<(Digest, Vec<u8>)>,
    fetched: u64,
    kept: u64,
    /// Parts that are kept until all have come.
    parts: Vec<Digest>,
}

impl Puller<'_> {
    fn part(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        if let Some((_, bytes)) = self
            .index
            .take_if(|(digest, _)| *digest == descriptor.digest)
        {
            self.fetched += bytes.len() as u64;
            self.meter.advance(descriptor.size);
            return Ok(bytes);
        }
        if descriptor.is_manifest() {
            return self.manifest(descriptor);
        }
        let download = self.registry.download(descriptor, &self.meter);
        let came = self.registry.wait(download)?;
        self.fetched += came.fetched;
        self.kept += descriptor.size - came.fetched;
        self.parts.push(descriptor.digest);
        Ok(came.bytes)
    }

    /// A manifest, which tells how much more there is to come.
    fn manifest(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let name = descriptor.digest.to_string();
        let (bytes, _) = self
            .registry
            .wait(self.registry.get_manifest(&name))
            .map_err(|trouble| {
                let what = part(descriptor.annotations.get(TITLE), &descriptor.digest);
                self.registry.failure(trouble, &what)
            })?;
        self.fetched += bytes.len() as u64;
        if let Ok(head) = serde_json::from_slice::<Head>(&bytes) {
            let parts = head.config.iter().chain(&head.layers);
            let size = parts.fold(0u64, |sum, part| sum.saturating_add(part.size));
            self.meter.expect(descriptor.size.saturating_add(size));
        }
        self.meter.advance(bytes.len() as u64);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_bundle_is_named() {
        let index =
            format!(r#"{{"mediaType":"{INDEX}","artifactType":"{BUNDLE}","manifests":[]}}"#);
        assert_eq!(what_it_is(index.as_bytes()), None);
        for (text, says) in [
            ("<html>", "no JSON document"),
            ("{}", "a document of another kind"),
            (
                r#"{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#,
                "an index of images (application/vnd.docker.distribution.manifest.list.v2+json)",
            ),
            (
                r#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2}}"#,
                "an image or artifact (application/vnd.oci.image.config.v1+json)",
            ),
        ] {
            assert_eq!(what_it_is(text.as_bytes()).as_deref(), Some(says));
        }
    }
}
