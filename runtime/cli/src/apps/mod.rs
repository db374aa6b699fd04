//! Where apps come from.

use crate::exit::{ExitCode, Failure};
use std::borrow::Cow;
use std::fs;
use std::path::Path;
use taps_bundle::{Bundle, Digest, Source, check_component_header};
use taps_config::{PluginSchema, Preview, Schema, is_app_path, nearest};
use taps_sandbox::{AotCache, PoolSize, Sandbox};
use taps_transform::{Plugin, filter_plugins, transformer_plugins};

/// The apps inside of this program.
pub(crate) fn built_in() -> Result<Vec<Bundle>, Failure> {
    taps_apps::bundles().map_err(|error| Failure::new(ExitCode::Bundle, error))
}

/// The schema of this program: its apps and executors.
pub(crate) fn schema() -> Result<Schema, Failure> {
    let bundles = built_in()?;
    let apps = bundles.iter().map(|bundle| bundle.app().clone());
    let plugins = |plugins: Vec<Plugin>| {
        let described = plugins.into_iter().map(|plugin| PluginSchema {
            name: plugin.name.to_owned(),
            summary: plugin.summary.to_owned(),
            fields: plugin.fields,
        });
        described.collect()
    };
    Ok(Schema {
        filters: plugins(filter_plugins()),
        transformers: plugins(transformer_plugins()),
        ..Schema::new(apps.collect())
    })
}

/// The compiled-code cache, unless the user's directory cannot serve.
pub(crate) fn cache() -> Option<AotCache> {
    AotCache::open(&AotCache::default_directory()?).ok()
}

/// The app of that name, or the bundle or component at that path.
pub(crate) fn find(app: &str) -> Result<Bundle, Failure> {
    if is_app_path(app) {
        return load(Path::new(app));
    }
    let mut bundles = built_in()?;
    let index = bundles.iter().position(|bundle| {
        bundle
            .app()
            .name
            .eq_ignore_ascii_case(&app.replace('_', "-"))
    });
    if let Some(index) = index {
        return Ok(bundles.swap_remove(index));
    }
    let names: Vec<&str> = bundles
        .iter()
        .map(|bundle| bundle.app().name.as_str())
        .collect();
    let meant = nearest(app, names.iter().copied())
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    let available = names.join(", ");
    let error = format!("no app named `{app}`{meant}; available: {available}");
    Err(Failure::new(ExitCode::Usage, error).hint("write `./NAME` for a bundle in this directory"))
}

/// The schema of this program for arguments that name an app: where they do so by a path, with that app,
/// which is given back, too.
pub(crate) fn schema_for(seen: &Preview) -> Result<(Schema, Option<Bundle>), Failure> {
    let schema = schema()?;
    let named = seen.base.as_deref().or(seen.app.as_deref());
    let Some(path) = named.filter(|app| is_app_path(app)) else {
        return Ok((schema, None));
    };
    let bundle = load(Path::new(path))?;
    let schema = schema.with_bundle(path, bundle.app().clone());
    Ok((schema, Some(bundle)))
}

/// Loads a directory with a manifest, or a single component, which is asked what it is.
pub(crate) fn load(path: &Path) -> Result<Bundle, Failure> {
    let refused = |error| Failure::new(ExitCode::Bundle, Loading::new(path, error));
    let metadata = fs::metadata(path).map_err(|error| refused(Box::new(error)))?;
    if metadata.is_dir() {
        return Bundle::from_directory(path).map_err(|error| refused(Box::new(error)));
    }
    let bytes = fs::read(path).map_err(|error| refused(Box::new(error)))?;
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    check_component_header(&name, &bytes).map_err(|error| refused(Box::new(error)))?;
    let pool = PoolSize {
        workers: 1,
        per_worker: 1,
    };
    let sandbox =
        Sandbox::new(pool, cache()).map_err(|error| Failure::new(ExitCode::Runtime, error))?;
    let description = sandbox
        .describe(&name, &bytes)
        .map_err(|error| refused(Box::new(error)))?;
    let digest = Digest::of(&bytes);
    let source = Source::Component(path.to_owned());
    Bundle::from_component(description, Cow::Owned(bytes), digest, source)
        .map_err(|error| refused(Box::new(error)))
}

/// A bundle could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("load the app `{path}`")]
struct Loading {
    path: String,
    #[source]
    reason: Box<dyn std::error::Error + Send + Sync>,
}

impl Loading {
    fn new(path: &Path, reason: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self {
            path: path.display().to_string(),
            reason,
        }
    }
}
