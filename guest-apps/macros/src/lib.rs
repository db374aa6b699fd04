//! Derive and attribute macros of the guest SDK `taps`. Their documentation is with their
//! re-exports there; this crate is not used directly.
//!
//! Generated code names `::taps`, keeps what the author wrote, and puts each check of a type on
//! the span of that type, so that compile errors point at the author's line.

use proc_macro::TokenStream;

mod app;
mod attributes;
mod config;
mod task;
mod value;

/// Makes a struct the configuration of an app.
///
/// The doc comment of the struct is the app's summary, that of a field its help. Fields are
/// whole numbers, `f32`, `f64`, `bool`, `String`, `#[derive(ConfigEnum)]` types, the grants
/// `InputFile`, `InputDir`, `OutputDir`, and `Option` (may be absent) and `Vec` of those.
///
/// On a field: `#[taps(default = …, min = …, max = …)]`. On the struct:
/// `#[taps(check = path)]`, a `fn(&Self) -> taps::Result<()>` that sees the whole configuration.
#[proc_macro_derive(Config, attributes(taps))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    expand(syn::parse(input).and_then(|input| config::derive_config(&input)))
}

/// Makes an enum without data the type of a field of a configuration. Its words are the names
/// of the variants in kebab case.
#[proc_macro_derive(ConfigEnum)]
pub fn derive_config_enum(input: TokenStream) -> TokenStream {
    expand(syn::parse(input).and_then(|input| config::derive_enum(&input)))
}

/// Makes a struct or enum a value that tasks can take and return: derives rkyv's traits in the
/// SDK's byte format and implements `Value`.
#[proc_macro_attribute]
pub fn value(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(value::expand(attribute.into(), item.into()))
}

/// Makes a function a task.
///
/// The function stays what it is and can be called in tests. `NAME::call(…)` makes a call of the
/// task, to be submitted.
///
/// Parameters are values (`T`, or `&T` to have it lent), `&Archived<T>` (read in place),
/// `&Array<T>`, `&[u8]`, `&str`, `Payload` (the raw handle) and, last, `List<T>` (the rest).
/// It returns a value, a tuple of values for several outputs, nothing, or a `Result` of those.
///
/// Options: `#[taps::task(pure)]` (equal arguments always give equal results),
/// `grants("field", …)` (path fields of the configuration that the task may reach),
/// `name = "…"` (instead of the function's name).
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(task::expand(attribute.into(), item.into()))
}

/// Makes `fn(config: C, engine: &Engine) -> taps::Result<Report>` the driver of the app, and the
/// crate a component. `#[taps::app(name = "…")]`; without a name the package's, less a leading
/// `taps-`.
///
/// The app's entry, for tests, is the constant `APP` beside the function.
#[proc_macro_attribute]
pub fn app(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(app::expand(attribute.into(), item.into()))
}

fn expand(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(syn::Error::into_compile_error).into()
}
