//! `#[taps::app]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{Error, Expr, FnArg, Item, LitStr, Result, Type};

use crate::attributes::doc;

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut name: Option<LitStr> = None;
    let mut programs: Option<Expr> = None;
    let mut nans = quote!(Canonical);
    syn::meta::parser(|meta| {
        if meta.path.is_ident("name") {
            name = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("programs") {
            programs = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("nans") {
            nans = nans_of(&meta.value()?.parse()?)?;
        } else {
            return Err(meta.error(
                "unknown option; an app takes `name = \"…\"`, `programs = PROGRAMS` and `nans = \"host\"`",
            ));
        }
        Ok(())
    })
    .parse2(attribute)?;
    let function = match syn::parse2(item)? {
        Item::Fn(function) => function,
        other => {
            return Err(Error::new_spanned(
                &other,
                "`#[taps::app]` is for a function",
            ));
        }
    };
    let signature = &function.sig;
    let parameters: Vec<_> = signature.inputs.iter().collect();
    let (config, engine) = match parameters.as_slice() {
        [FnArg::Typed(config), FnArg::Typed(engine)] => (&config.ty, &engine.ty),
        _ => {
            return Err(Error::new_spanned(
                signature,
                "a driver is `fn(config: Config, engine: &taps::Engine) -> taps::Result<taps::Report>`",
            ));
        }
    };
    if signature.asyncness.is_some() || !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            signature,
            "a driver is neither async nor generic",
        ));
    }
    let ident = &signature.ident;
    let visibility = &function.vis;
    let help = doc(&function.attrs);
    let app_name = if let Some(name) = &name {
        check_name(name)?;
        quote!(#name)
    } else {
        quote!(::taps::__private::app_name(::core::env!("CARGO_PKG_NAME")))
    };
    let programs = programs.map_or_else(|| quote!(&[]), |programs| quote!(#programs));
    let engine_check = quote_spanned! {engine.span()=>
        let engine: #engine = engine;
    };
    let (config_type, pass) = match &**config {
        Type::Reference(reference) => (&*reference.elem, quote!(&config)),
        owned => (owned, quote!(config)),
    };
    let call = quote_spanned! {signature.output.span()=>
        let report: ::taps::Result<::taps::Report> = #ident(#pass, engine);
        report
    };
    let config_check = quote_spanned! {config.span()=>
        <#config_type as ::taps::Config>::from_json(config)?
    };
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a driver owns its configuration")]
        #function

        /// The app of this crate.
        #visibility static APP: ::taps::AppEntry = ::taps::AppEntry {
            package: ::core::env!("CARGO_PKG_NAME"),
            name: #app_name,
            version: ::core::env!("CARGO_PKG_VERSION"),
            help: #help,
            programs: #programs,
            nans: ::taps::__private::Nans::#nans,
            config: ::taps::__private::ConfigDescription::of::<#config_type>,
            run: {
                fn __taps_run(
                    config: &::taps::__private::Json,
                    engine: &::taps::Engine,
                ) -> ::taps::Result<::taps::Report> {
                    let config = #config_check;
                    #engine_check
                    #call
                }
                __taps_run
            },
        };

        ::taps::__register_app!(APP);
        ::taps::__export_app!();
    })
}

/// The variant of `Nans` for a word.
fn nans_of(word: &LitStr) -> Result<TokenStream> {
    match word.value().as_str() {
        "canonical" => Ok(quote!(Canonical)),
        "host" => Ok(quote!(Host)),
        _ => Err(Error::new_spanned(
            word,
            "the NaNs of an app are `canonical` or `host`",
        )),
    }
}

fn check_name(name: &LitStr) -> Result<()> {
    let text = name.value();
    let kebab = !text.is_empty()
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if kebab {
        Ok(())
    } else {
        Err(Error::new_spanned(
            name,
            "the name of an app is in kebab case, for example `word-count`",
        ))
    }
}
