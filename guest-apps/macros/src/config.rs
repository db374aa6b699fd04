//! `#[derive(Config)]` and `#[derive(ConfigEnum)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Lit, Path, Result};

use crate::attributes::{doc, kebab};

pub(crate) fn derive_config(input: &DeriveInput) -> Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => fields.named.iter().collect::<Vec<_>>(),
            Fields::Unit => Vec::new(),
            Fields::Unnamed(fields) => {
                return Err(Error::new_spanned(
                    fields,
                    "the fields of a configuration need names",
                ));
            }
        },
        _ => {
            return Err(Error::new_spanned(
                &input.ident,
                "a configuration is a struct",
            ));
        }
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a configuration has no type parameters",
        ));
    }
    let name = &input.ident;
    let summary = doc(&input.attrs);
    let check = struct_check(input)?;
    let descriptions = fields
        .iter()
        .map(|field| describe(field))
        .collect::<Result<Vec<_>>>()?;
    let reads = fields.iter().enumerate().map(|(index, field)| {
        let ident = &field.ident;
        let declared = &field.ty;
        quote_spanned! {declared.span()=>
            #ident: ::taps::__private::parse_field::<#declared>(object, &fields[#index])?
        }
    });
    let check = check.map(|check| {
        quote_spanned! {check.span()=>
            let check: fn(&#name) -> ::taps::Result<()> = #check;
            check(&parsed)?;
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl ::taps::Config for #name {
            const SUMMARY: &'static str = #summary;

            fn fields() -> ::std::vec::Vec<::taps::__private::ConfigField> {
                ::std::vec![#(#descriptions),*]
            }

            fn from_json(config: &::taps::__private::Json) -> ::taps::Result<Self> {
                let fields = <Self as ::taps::Config>::fields();
                let object = ::taps::__private::object(config, &fields)?;
                let parsed = Self { #(#reads),* };
                let _ = object;
                #check
                ::core::result::Result::Ok(parsed)
            }
        }
    })
}

/// The function of `#[taps(check = …)]`.
fn struct_check(input: &DeriveInput) -> Result<Option<Path>> {
    let mut check = None;
    for attribute in input
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("taps"))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("check") {
                check = Some(meta.value()?.parse()?);
                Ok(())
            } else {
                Err(meta.error("unknown option; a configuration takes `check = function`"))
            }
        })?;
    }
    Ok(check)
}

#[derive(Default)]
struct FieldOptions {
    default: Option<Expr>,
    min: Option<Expr>,
    max: Option<Expr>,
}

fn field_options(field: &Field) -> Result<FieldOptions> {
    let mut options = FieldOptions::default();
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("taps"))
    {
        attribute.parse_nested_meta(|meta| {
            let place = if meta.path.is_ident("default") {
                &mut options.default
            } else if meta.path.is_ident("min") {
                &mut options.min
            } else if meta.path.is_ident("max") {
                &mut options.max
            } else {
                return Err(meta.error("unknown option; a field takes `default`, `min` and `max`"));
            };
            if place.is_some() {
                return Err(meta.error("given twice"));
            }
            *place = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    Ok(options)
}

/// A bound: literals with a point are floating-point, everything else is a whole number.
fn limit(bound: Option<&Expr>) -> TokenStream {
    fn is_float(expression: &Expr) -> bool {
        match expression {
            Expr::Lit(ExprLit {
                lit: Lit::Float(_), ..
            }) => true,
            Expr::Unary(unary) => is_float(&unary.expr),
            _ => false,
        }
    }
    match bound {
        None => quote!(::core::option::Option::None),
        Some(bound) if is_float(bound) => quote_spanned! {bound.span()=>
            ::core::option::Option::Some(::taps::__private::Limit::Float(#bound))
        },
        Some(bound @ (Expr::Lit(_) | Expr::Unary(_))) => quote_spanned! {bound.span()=>
            ::core::option::Option::Some(::taps::__private::Limit::Integer(#bound))
        },
        Some(bound) => quote_spanned! {bound.span()=>
            ::core::option::Option::Some(::taps::__private::Limit::Integer((#bound) as i64))
        },
    }
}

fn describe(field: &Field) -> Result<TokenStream> {
    let name = field
        .ident
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let declared = &field.ty;
    let help = doc(&field.attrs);
    let options = field_options(field)?;
    let min = limit(options.min.as_ref());
    let max = limit(options.max.as_ref());
    let default = match &options.default {
        None => quote!(::core::option::Option::None),
        // A literal is the value as the user would write it; anything else is a value of the type.
        Some(literal @ (Expr::Lit(_) | Expr::Unary(_))) => {
            quote_spanned! {literal.span()=>
                ::core::option::Option::Some(::taps::__private::Json::from(#literal))
            }
        }
        Some(expression) => quote_spanned! {expression.span()=>
            {
                let default: #declared = #expression;
                ::core::option::Option::Some(<#declared as ::taps::ConfigValue>::to_json(&default))
            }
        },
    };
    Ok(quote_spanned! {declared.span()=>
        ::taps::__private::ConfigField {
            name: ::std::string::String::from(#name),
            kind: <#declared as ::taps::ConfigValue>::kind(#min, #max),
            help: ::std::string::String::from(#help),
            default: #default,
            optional: <#declared as ::taps::ConfigValue>::OPTIONAL,
        }
    })
}

pub(crate) fn derive_enum(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "`ConfigEnum` is for enums",
        ));
    };
    if data.variants.is_empty() {
        return Err(Error::new_spanned(
            &input.ident,
            "an enum needs at least one variant",
        ));
    }
    for variant in &data.variants {
        if !variant.fields.is_empty() {
            return Err(Error::new_spanned(
                &variant.fields,
                "a variant here holds no data",
            ));
        }
    }
    let name = &input.ident;
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let words: Vec<_> = variants
        .iter()
        .map(|variant| kebab(&variant.to_string()))
        .collect();
    Ok(quote! {
        #[automatically_derived]
        impl ::taps::ConfigEnum for #name {
            const WORDS: &'static [&'static str] = &[#(#words),*];

            fn from_word(word: &str) -> ::core::option::Option<Self> {
                ::core::option::Option::Some(match word {
                    #(#words => #name::#variants,)*
                    _ => return ::core::option::Option::None,
                })
            }

            fn word(&self) -> &'static str {
                match self {
                    #(#name::#variants => #words),*
                }
            }
        }

        #[automatically_derived]
        impl ::taps::ConfigValue for #name {
            fn kind(
                _: ::core::option::Option<::taps::__private::Limit>,
                _: ::core::option::Option<::taps::__private::Limit>,
            ) -> ::taps::__private::FieldKind {
                ::taps::__private::enum_kind::<Self>()
            }

            fn parse(
                value: &::taps::__private::Json,
                _: &::taps::__private::FieldKind,
            ) -> ::core::option::Option<Self> {
                ::taps::__private::enum_parse::<Self>(value)
            }

            fn to_json(&self) -> ::taps::__private::Json {
                ::taps::__private::Json::from(::taps::ConfigEnum::word(self))
            }
        }
    })
}
