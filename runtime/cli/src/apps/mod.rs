//! Where apps come from.
//!
//! `run WHAT` finds, in this order: a path; an app of this program; a name in the directories of apps; a name,
//! `NAME:VERSION` or digest in the cache of bundles; and a place in a registry. Whatever it finds is a [`Found`]:
//! a bundle, and where it came from.

pub(crate) mod cache;
pub(crate) mod catalogue;
pub(crate) mod consent;
pub(crate) mod data;
mod memo;
pub(crate) mod places;
pub(crate) mod signatures;

pub(crate) use cache::BundleCache;
pub(crate) use signatures::signature_path;

use crate::commands::bundle::{Access, bring};
use crate::execute::compiling::Notice;
use crate::exit::{ExitCode, Failure};
use catalogue::{Catalogue, Place, same_name};
use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use taps_bundle::{
    Bundle, Digest, Source, check_component_header, check_imports, scan, sign::SignatureFile,
};
use taps_config::{LoadedApp, PluginSchema, Preview, Schema, has_extension, is_app_path, nearest};
use taps_registry::Reference;
use taps_sandbox::{AotCache, PoolSize, Sandbox};
use taps_schema::AppDescription;
use taps_transform::{Plugin, filter_plugins, transformer_plugins};

/// An app, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) bundle: Bundle,
    pub(crate) origin: Origin,
    /// The signatures that came with it, if they can be read.
    pub(crate) signatures: Option<Result<SignatureFile, String>>,
}

/// Where an app came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Inside of this program.
    BuiltIn,
    /// The user named its path.
    Path,
    /// A directory of apps.
    Directory,
    /// The cache of bundles.
    Cache,
    /// A registry, now or when it was pulled.
    Registry(String),
}

impl Found {
    fn built_in(bundle: Bundle) -> Self {
        Self {
            bundle,
            origin: Origin::BuiltIn,
            signatures: None,
        }
    }

    fn at(path: &Path, origin: Origin) -> Result<Self, Failure> {
        Ok(Self {
            bundle: load(path)?,
            origin,
            signatures: consent::beside(path),
        })
    }

    /// A bundle of the user's cache, if there is one; none when it is not kept.
    fn kept(digest: &Digest) -> Result<Option<Self>, Failure> {
        match BundleCache::existing() {
            Some(cache) => Self::cached(&cache, digest),
            None => Ok(None),
        }
    }

    /// A bundle that is kept; none when it is not.
    fn cached(cache: &BundleCache, digest: &Digest) -> Result<Option<Self>, Failure> {
        let Some(bundle) = cache.load(digest)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            bundle,
            origin: Origin::Cache,
            signatures: cache.signatures(digest).map(Ok),
        }))
    }

    /// Where it came from, for people and records.
    pub(crate) fn shown(&self) -> String {
        match (&self.origin, self.bundle.source()) {
            (Origin::BuiltIn, _) | (_, Source::Embedded) => "built in".to_owned(),
            (Origin::Registry(reference), _) | (_, Source::Registry(reference)) => {
                reference.clone()
            }
            (Origin::Cache, _) => "the cache of bundles".to_owned(),
            (
                Origin::Path | Origin::Directory,
                Source::Directory(path) | Source::Component(path) | Source::Archive(path),
            ) => path.display().to_string(),
        }
    }

    /// Whether its digest is part of a run's configuration: where the same name may come to stand for another
    /// bundle on another machine. What lies open, and changes while it is worked on, is not pinned.
    fn is_pinned(&self) -> bool {
        matches!(self.bundle.source(), Source::Archive(_))
            || matches!(self.origin, Origin::Registry(_))
    }
}

/// The apps inside of this program; they are looked through once.
pub(crate) fn built_in() -> Result<&'static [Bundle], Failure> {
    static BUILT_IN: OnceLock<Vec<Bundle>> = OnceLock::new();
    if let Some(bundles) = BUILT_IN.get() {
        return Ok(bundles);
    }
    let bundles = taps_apps::bundles().map_err(|error| Failure::new(ExitCode::Bundle, error))?;
    Ok(BUILT_IN.get_or_init(|| bundles))
}

/// The app of that name inside of this program.
pub(crate) fn built_in_named(name: &str) -> Result<Option<&'static Bundle>, Failure> {
    let mut bundles = built_in()?.iter();
    Ok(bundles.find(|bundle| same_name(&bundle.app().name, name)))
}

/// The schema of the apps inside of this program.
fn built_in_schema() -> Result<Schema, Failure> {
    let apps = built_in()?.iter().map(|bundle| bundle.app().clone());
    Ok(schema_of(apps.collect()))
}

/// What an app is, with the defaults of its bundle.
pub(crate) fn described(bundle: &Bundle) -> AppDescription {
    let manifest = bundle.own_manifest();
    let mut app = manifest.app.clone();
    for field in &mut app.config {
        if let Some(default) = manifest.defaults.get(&field.name) {
            field.default = Some(default.clone());
        }
    }
    app
}

/// A schema of these apps, and all executors, filters and transformers.
fn schema_of(apps: Vec<AppDescription>) -> Schema {
    let plugins = |plugins: Vec<Plugin>| {
        let described = plugins.into_iter().map(|plugin| PluginSchema {
            name: plugin.name.to_owned(),
            summary: plugin.summary.to_owned(),
            fields: plugin.fields,
        });
        described.collect()
    };
    Schema {
        filters: plugins(filter_plugins()),
        transformers: plugins(transformer_plugins()),
        ..Schema::new(apps)
    }
}

/// The schema without apps.
pub(crate) fn executors_schema() -> Schema {
    schema_of(Vec::new())
}

/// All that can be named.
pub(crate) fn catalogue() -> Result<Catalogue, Failure> {
    Ok(Catalogue::read(built_in()?))
}

/// The schema of this program: everything that can be named, each name once.
pub(crate) fn schema() -> Result<Schema, Failure> {
    Ok(schema_of_catalogue(&catalogue()?))
}

/// The schema of a catalogue.
pub(crate) fn schema_of_catalogue(catalogue: &Catalogue) -> Schema {
    let visible = catalogue
        .entries
        .iter()
        .filter(|entry| entry.hidden_by.is_none());
    let mut apps: Vec<AppDescription> = visible.map(|entry| entry.app.clone()).collect();
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    schema_of(apps)
}

/// The compiled-code cache, unless the user's directory cannot serve.
pub(crate) fn cache() -> Option<AotCache> {
    AotCache::open(&AotCache::default_directory()?).ok()
}

/// The app of that name, at that path, or at that place in a registry.
pub(crate) fn find(app: &str) -> Result<Bundle, Failure> {
    find_with_origin(app).map(|found| found.bundle)
}

/// The same, with where it came from.
pub(crate) fn find_with_origin(app: &str) -> Result<Found, Failure> {
    match look_up(app, None, Fetching::Allowed)? {
        Some(found) => Ok(found),
        None => Err(unknown(app)?),
    }
}

/// The app of that name for a worker: it may run without anybody being asked.
pub(crate) fn find_allowed(app: &str) -> Result<Bundle, Failure> {
    let found = find_with_origin(app)?;
    consent::ask(&found, &consent::Wanted::default())?;
    Ok(found.bundle)
}

/// Whether a registry may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetching {
    Allowed,
    Refused,
}

/// Finds an app; with a digest, that very bundle. None when there is no app of that name.
fn look_up(app: &str, pin: Option<&Digest>, fetching: Fetching) -> Result<Option<Found>, Failure> {
    let Some(pin) = pin else {
        return named(app, fetching);
    };
    // A registry is asked last: it may have another bundle of that name by now.
    let is_path = is_app_path(app) && !is_reference(app);
    let found = match named(app, Fetching::Refused) {
        Err(_) if is_path => Found::kept(pin)?,
        found => found?,
    };
    let is_pinned = |found: &Found| found.bundle.digest() == *pin;
    if found.as_ref().is_some_and(is_pinned) {
        return Ok(found);
    }
    if let Some(found) = Found::kept(pin)? {
        return Ok(Some(found));
    }
    let found = match found {
        None if is_reference(app) => named(app, fetching)?,
        found => found,
    };
    match found {
        Some(found) if is_pinned(&found) => Ok(Some(found)),
        Some(found) => Err(Failure::new(
            ExitCode::Bundle,
            format!(
                "{app} is the bundle {}, but the configuration is of {pin}",
                found.bundle.digest()
            ),
        )
        .hint(
            "bring that bundle here (`taps-wasm bundle cache add FILE`), or name the app on the \
             command line to run another one with this configuration",
        )),
        None => Err(Failure::new(
            ExitCode::Bundle,
            format!("{app}: the bundle {pin} is not on this machine"),
        )
        .hint("bring it here with `taps-wasm bundle cache add FILE` or `taps-wasm bundle pull`")),
    }
}

/// What a name, a path or a reference stands for here.
fn named(app: &str, fetching: Fetching) -> Result<Option<Found>, Failure> {
    if is_reference(app) {
        return referred(app, fetching);
    }
    if is_app_path(app) {
        return Found::at(Path::new(app), Origin::Path).map(Some);
    }
    if let Ok(digest) = app.parse::<Digest>() {
        return Found::kept(&digest);
    }
    if let Some(bundle) = built_in_named(app)? {
        return Ok(Some(Found::built_in(bundle.clone())));
    }
    let catalogue = catalogue()?;
    match catalogue.find(app).map(|entry| &entry.place) {
        Some(Place::BuiltIn) => {
            let name = app.split(':').next().unwrap_or(app);
            let bundle = built_in_named(name)?.cloned();
            Ok(bundle.map(Found::built_in))
        }
        Some(Place::Directory(path)) => Found::at(path, Origin::Directory).map(Some),
        Some(Place::Cache(digest, _)) => Found::kept(digest),
        None => match catalogue.broken_as(app) {
            Some(broken) => {
                let reason = broken.reason.clone().into();
                Err(Failure::new(
                    ExitCode::Bundle,
                    Loading::new(&broken.path, reason),
                ))
            }
            None => Ok(None),
        },
    }
}

/// Whether a text names a place in a registry: it begins as one, and is no path here.
fn is_reference(app: &str) -> bool {
    Reference::looks_like_one(app)
        && !app.starts_with(['/', '.'])
        && !has_extension(app, "taps")
        && !has_extension(app, "wasm")
        && !Path::new(app).exists()
}

/// A bundle by its place in a registry: as it was pulled before, else pulled now.
fn referred(app: &str, fetching: Fetching) -> Result<Option<Found>, Failure> {
    let reference: Reference = app
        .parse()
        .map_err(|error| Failure::new(ExitCode::Usage, error))?;
    let known = reference.to_string();
    if let Some(cache) = BundleCache::existing() {
        let pinned = reference.digest().and_then(|digest| digest.parse().ok());
        let digest = match pinned {
            Some(digest) => Some(digest),
            None => cache.referred(&known)?,
        };
        if let Some(digest) = digest
            && let Some(found) = Found::cached(&cache, &digest)?
        {
            return Ok(Some(Found {
                origin: Origin::Registry(known),
                ..found
            }));
        }
    }
    if fetching == Fetching::Refused {
        return Ok(None);
    }
    let cache = BundleCache::open()?;
    let brought = bring(&reference, &Access::default(), &cache)?;
    Ok(Some(Found {
        bundle: brought.bundle,
        origin: Origin::Registry(known),
        signatures: brought.signatures.map(Ok),
    }))
}

/// There is no such app: what there is.
fn unknown(app: &str) -> Result<Failure, Failure> {
    let schema = schema()?;
    let names: Vec<&str> = schema.apps.iter().map(|app| app.name.as_str()).collect();
    // `failures` is no app of its own.
    let names: Vec<&str> = names
        .into_iter()
        .filter(|name| *name != taps_config::failures_app().name)
        .collect();
    let meant = nearest(app, names.iter().copied())
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    let available = names.join(", ");
    let error = format!("no app named `{app}`{meant}; available: {available}");
    Ok(Failure::new(ExitCode::Usage, error).hint("write `./NAME` for a bundle in this directory"))
}

/// The schema of this program for arguments that name an app, with that app, which is given back, too; without it
/// where there is no such app, for then the schema says what there is.
pub(crate) fn schema_for(seen: &Preview) -> Result<(Schema, Option<Found>), Failure> {
    let named = seen.base.as_deref().or(seen.app.as_deref());
    let Some(app) = named else {
        return Ok((schema()?, None));
    };
    // One that is no digest is refused with everything else that is wrong with the configuration.
    let pin: Option<Digest> = seen.bundle.as_deref().and_then(|pin| pin.parse().ok());
    let fetching = if seen.switches.locked {
        Fetching::Refused
    } else {
        Fetching::Allowed
    };
    let found = match look_up(app, pin.as_ref(), fetching)? {
        Some(found) => found,
        None if is_reference(app) => {
            let error = format!("{app} was not pulled yet, and --locked fetches nothing");
            return Err(Failure::new(ExitCode::Bundle, error)
                .hint(format!("`taps-wasm bundle pull {app}` brings it here")));
        }
        None => return Ok((schema()?, None)),
    };
    if found.origin == Origin::BuiltIn {
        return Ok((built_in_schema()?, Some(found)));
    }
    let data = found.bundle.own_manifest().data.iter();
    let by_path = matches!(found.origin, Origin::Path) || is_app_path(app) && !is_reference(app);
    let loaded = LoadedApp {
        written: app.to_owned(),
        stored: (!by_path).then(|| app.to_owned()),
        digest: found.is_pinned().then(|| found.bundle.digest().to_string()),
        data: data.map(|entry| entry.name.clone()).collect(),
        app: described(&found.bundle),
    };
    Ok((built_in_schema()?.with_app(loaded), Some(found)))
}

/// Loads an archive, a directory with a manifest, or a single component, which is asked what it is.
pub(crate) fn load(path: &Path) -> Result<Bundle, Failure> {
    let refused = |error| Failure::new(ExitCode::Bundle, Loading::new(path, error));
    let metadata = fs::metadata(path).map_err(|error| refused(Box::new(error)))?;
    if metadata.is_dir() {
        return Bundle::from_directory(path).map_err(|error| refused(Box::new(error)));
    }
    if has_extension(path, "taps") {
        return Bundle::from_archive(path).map_err(|error| refused(Box::new(error)));
    }
    let bytes = fs::read(path).map_err(|error| refused(Box::new(error)))?;
    check_component_header(&file_name(path), &bytes).map_err(|error| refused(Box::new(error)))?;
    let digest = Digest::of(&bytes);
    let description = describe(path, &bytes, &digest)?;
    let source = Source::Component(path.to_owned());
    Bundle::from_component(description, Cow::Owned(bytes), digest, source)
        .map_err(|error| refused(Box::new(error)))
}

/// A place to ask components what they are; whoever waits for one to be compiled is told.
pub(crate) fn sandbox() -> Result<Sandbox, Failure> {
    let pool = PoolSize {
        workers: 1,
        per_worker: 1,
    };
    let sandbox = Sandbox::new(pool, cache());
    let sandbox = sandbox.map_err(|error| Failure::new(ExitCode::Runtime, error))?;
    Ok(sandbox.watched_by(Notice::default()))
}

/// What the component at a path says that it is: asked once, and only if it can run here.
fn describe(path: &Path, bytes: &[u8], digest: &Digest) -> Result<AppDescription, Failure> {
    if let Some(description) = memo::described(digest) {
        return Ok(description);
    }
    let refused = |error| Failure::new(ExitCode::Bundle, Loading::new(path, error));
    let name = file_name(path);
    let scan = scan(&name, bytes).map_err(|error| refused(error.into()))?;
    check_imports(&name, &scan.imports).map_err(|error| refused(error.into()))?;
    let description = sandbox()?.describe(&name, bytes);
    let description = description.map_err(|error| refused(error.into()))?;
    memo::remember_description(digest, &description);
    Ok(description)
}

fn file_name(path: &Path) -> Cow<'_, str> {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
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
