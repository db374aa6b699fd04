//! `#[taps::task]`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{
    Error, FnArg, GenericArgument, Ident, Item, ItemFn, LitStr, Pat, PathArguments, Result,
    ReturnType, Type, TypePath, TypeReference,
};

use crate::attributes::{first_paragraph, type_text};

#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    pure: bool,
    grants: Vec<LitStr>,
    programs: Vec<LitStr>,
}

fn options(attribute: TokenStream) -> Result<Options> {
    let mut options = Options::default();
    syn::meta::parser(|meta| {
        if meta.path.is_ident("pure") {
            options.pure = true;
        } else if meta.path.is_ident("name") {
            options.name = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("grants") || meta.path.is_ident("programs") {
            let content;
            syn::parenthesized!(content in meta.input);
            let names =
                content.parse_terminated(<LitStr as syn::parse::Parse>::parse, syn::Token![,])?;
            if meta.path.is_ident("grants") {
                options.grants.extend(names);
            } else {
                options.programs.extend(names);
            }
        } else {
            return Err(meta.error(
                "unknown option; a task takes `pure`, `name = \"…\"`, `grants(\"field\", …)` and `programs(\"name\", …)`",
            ));
        }
        Ok(())
    })
    .parse2(attribute)?;
    Ok(options)
}

/// How a parameter reaches the function, and what a call accepts for it.
struct Parameter {
    name: Ident,
    /// Declared type, for descriptions.
    text: String,
    /// Type `V` of `IntoArgument<V>`.
    wire: TokenStream,
    /// Takes the argument.
    take: TokenStream,
    /// Hands it to the function.
    pass: TokenStream,
    /// Whether it takes the rest.
    list: bool,
    span: Span,
}

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = options(attribute)?;
    let function = match syn::parse2(item)? {
        Item::Fn(function) => function,
        other => {
            return Err(Error::new_spanned(
                &other,
                "`#[taps::task]` is for a function",
            ));
        }
    };
    check_signature(&function)?;
    let parameters = function
        .sig
        .inputs
        .iter()
        .enumerate()
        .map(|(index, input)| parameter(index, input))
        .collect::<Result<Vec<_>>>()?;
    if let Some((_, rest)) = parameters.split_last()
        && let Some(list) = rest.iter().find(|parameter| parameter.list)
    {
        return Err(Error::new(
            list.span,
            "`List` takes the rest of the arguments: it must be the last parameter",
        ));
    }
    let output = output(&function.sig.output);
    let namespace = namespace(&function, &options, &parameters, &output);
    let runner = runner(&function, &parameters, &output);
    let ident = &function.sig.ident;
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
        #function

        #namespace

        const _: () = {
            #runner

            ::taps::__private::inventory::submit! {
                ::taps::__private::TaskRegistration(#ident::task)
            }
        };
    })
}

fn check_signature(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        return Err(Error::new_spanned(
            token,
            "a task is not async: it runs in a sandbox of its own",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            "a task is not generic: the engine calls it by name",
        ));
    }
    if let Some(token) = &signature.unsafety {
        return Err(Error::new_spanned(token, "a task is a safe function"));
    }
    if let Some(token) = &signature.variadic {
        return Err(Error::new_spanned(
            token,
            "a task takes the rest of the arguments as `List<T>`",
        ));
    }
    Ok(())
}

/// The last segment of a path type and its only type argument.
fn generic(path: &TypePath) -> Option<(&Ident, Option<&Type>)> {
    let segment = path.path.segments.last()?;
    let argument = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => {
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(argument) => Some(argument),
                _ => None,
            })
        }
        _ => None,
    };
    Some((&segment.ident, argument))
}

fn parameter(index: usize, input: &FnArg) -> Result<Parameter> {
    let FnArg::Typed(typed) = input else {
        return Err(Error::new_spanned(
            input,
            "a task is a free function, without `self`",
        ));
    };
    let name = match &*typed.pat {
        Pat::Ident(pattern) => pattern.ident.clone(),
        _ => format_ident!("argument_{index}"),
    };
    let place = format_ident!("__argument_{index}", span = Span::mixed_site());
    let span = typed.ty.span();
    let (wire, take, pass, list) = match &*typed.ty {
        Type::Reference(reference) => lent(reference, &place)?,
        Type::Path(path) => by_value(path, &place)?,
        declared @ (Type::Tuple(_) | Type::Array(_)) => (
            quote!(#declared),
            quote_spanned!(span=> __arguments.value::<#declared>()?),
            quote!(#place),
            false,
        ),
        other => return Err(unsupported(other)),
    };
    let name = Ident::new(name.to_string().trim_start_matches('_'), name.span());
    Ok(Parameter {
        text: type_text(&typed.ty),
        take: quote_spanned!(span=> let #place = #take;),
        name,
        wire,
        pass,
        list,
        span,
    })
}

type Parts = (TokenStream, TokenStream, TokenStream, bool);

fn lent(reference: &TypeReference, place: &Ident) -> Result<Parts> {
    let span = reference.span();
    if reference.mutability.is_some() {
        return Err(Error::new_spanned(
            reference,
            "arguments are immutable: take the value itself, or lend it with `&`",
        ));
    }
    match &*reference.elem {
        Type::Slice(slice) => match &*slice.elem {
            Type::Path(path) if path.path.is_ident("u8") => Ok((
                quote!(::taps::Bytes),
                quote!(__arguments.value::<::taps::Bytes>()?),
                quote!(#place.as_slice()),
                false,
            )),
            element => Err(Error::new_spanned(
                reference,
                format!(
                    "a task cannot take `&[{0}]`; take `&taps::Array<{0}>` for numbers, `&Archived<Vec<{0}>>` otherwise",
                    type_text(element)
                ),
            )),
        },
        Type::Path(path) if path.path.is_ident("str") => Ok((
            quote!(::std::string::String),
            quote!(__arguments.archived::<::std::string::String>()?),
            quote!(::taps::__private::lend_str(&#place)),
            false,
        )),
        Type::Path(path) => match generic(path) {
            Some((ident, Some(inner))) if ident == "Archived" => Ok((
                quote!(#inner),
                quote_spanned!(inner.span()=> __arguments.archived::<#inner>()?),
                quote_spanned!(inner.span()=> ::taps::__private::lend::<#inner>(&#place)),
                false,
            )),
            Some((ident, Some(_))) if ident == "List" => Err(Error::new_spanned(
                reference,
                "take `List<T>` by value: going through it releases its elements",
            )),
            _ => Ok((
                quote!(#path),
                quote_spanned!(span=> __arguments.value::<#path>()?),
                quote!(&#place),
                false,
            )),
        },
        Type::Tuple(tuple) => Ok((
            quote!(#tuple),
            quote_spanned!(span=> __arguments.value::<#tuple>()?),
            quote!(&#place),
            false,
        )),
        other => Err(unsupported(other)),
    }
}

fn by_value(path: &TypePath, place: &Ident) -> Result<Parts> {
    let span = path.span();
    let take = quote_spanned!(span=> __arguments.value::<#path>()?);
    match generic(path) {
        Some((ident, Some(inner))) if ident == "List" => {
            Ok((quote!(#inner), take, quote!(#place), true))
        }
        Some((ident, Some(inner))) if ident == "Archived" => Err(Error::new_spanned(
            path,
            format!(
                "an archive is read in place: take `&Archived<{}>`",
                type_text(inner)
            ),
        )),
        _ => Ok((quote!(#path), take, quote!(#place), false)),
    }
}

fn unsupported(declared: &Type) -> Error {
    Error::new_spanned(
        declared,
        format!(
            "a task cannot take `{}`; it takes values, `&Archived<T>`, `&Array<T>`, `&[u8]`, `&str`, `Payload` and, last, `List<T>`",
            type_text(declared)
        ),
    )
}

/// What a task returns.
struct Output {
    /// Type `O` of `Call<O>`.
    call: TokenStream,
    /// Declared types, for descriptions.
    texts: Vec<String>,
    /// Whether the function returns a `Result`.
    fallible: bool,
    /// Whether there are several outputs.
    many: bool,
    span: Span,
}

fn output(declared: &ReturnType) -> Output {
    let ReturnType::Type(_, declared) = declared else {
        return Output {
            call: quote!(()),
            texts: Vec::new(),
            fallible: false,
            many: false,
            span: Span::call_site(),
        };
    };
    let (value, fallible) = match &**declared {
        Type::Path(path) => match generic(path) {
            Some((ident, Some(inner))) if ident == "Result" => (inner, true),
            _ => (&**declared, false),
        },
        _ => (&**declared, false),
    };
    let (call, texts, many) = match value {
        Type::Tuple(tuple) if tuple.elems.is_empty() => (quote!(()), Vec::new(), false),
        Type::Tuple(tuple) => (
            quote!(::taps::Many<#tuple>),
            tuple.elems.iter().map(type_text).collect(),
            true,
        ),
        value => (quote!(#value), vec![type_text(value)], false),
    };
    Output {
        call,
        texts,
        fallible,
        many,
        span: value.span(),
    }
}

/// The struct of the task's name: it lives in another namespace than the function.
fn namespace(
    function: &ItemFn,
    options: &Options,
    parameters: &[Parameter],
    output: &Output,
) -> TokenStream {
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let name = options
        .name
        .as_ref()
        .map_or_else(|| ident.to_string(), LitStr::value);
    let help = first_paragraph(&function.attrs);
    let names = parameters
        .iter()
        .map(|parameter| parameter.name.to_string());
    let texts = parameters.iter().map(|parameter| &parameter.text);
    let output_texts = &output.texts;
    let pure = options.pure;
    let takes_rest = parameters.last().is_some_and(|parameter| parameter.list);
    let grants = &options.grants;
    let programs = &options.programs;
    let outputs = &output.call;
    let inputs = parameters.iter().map(|parameter| {
        let (name, wire) = (&parameter.name, &parameter.wire);
        let accepted = if parameter.list {
            quote!(IntoArguments)
        } else {
            quote!(IntoArgument)
        };
        quote_spanned!(parameter.span=> #name: impl ::taps::#accepted<#wire>)
    });
    let adds = parameters.iter().map(|parameter| {
        let (name, wire) = (&parameter.name, &parameter.wire);
        let add = if parameter.list {
            quote!(arguments)
        } else {
            quote!(argument)
        };
        quote_spanned!(parameter.span=> .#add::<#wire>(#name))
    });
    let summary = format!("The task `{name}`.");
    let call_summary = format!("A call of the task `{name}`, to be submitted.");
    let call = quote_spanned! {output.span=> ::taps::Call<#outputs> };
    quote! {
        #[doc = #summary]
        #[allow(non_camel_case_types, dead_code, reason = "a namespace beside the function")]
        #visibility struct #ident {}

        impl #ident {
            #[doc = #call_summary]
            #[allow(dead_code, clippy::too_many_arguments, reason = "the task's own parameters")]
            #visibility fn call(#(#inputs),*) -> #call {
                ::taps::Call::new(Self::task())#(#adds)*
            }

            /// What the task says of itself.
            #visibility fn task() -> &'static ::taps::TaskEntry {
                static TASK: ::taps::TaskEntry = ::taps::TaskEntry {
                    package: ::core::env!("CARGO_PKG_NAME"),
                    name: #name,
                    help: #help,
                    parameters: &[#((#names, #texts)),*],
                    outputs: &[#(#output_texts),*],
                    pure: #pure,
                    grants: &[#(#grants),*],
                    programs: &[#(#programs),*],
                    takes_rest: #takes_rest,
                    run: #ident::__run,
                };
                &TASK
            }
        }
    }
}

/// The function that takes the arguments, calls the author's function and gives the outputs.
fn runner(function: &ItemFn, parameters: &[Parameter], output: &Output) -> TokenStream {
    let ident = &function.sig.ident;
    let takes = parameters.iter().map(|parameter| &parameter.take);
    let passes = parameters.iter().map(|parameter| &parameter.pass);
    let call = quote!(#ident(#(#passes),*));
    let value = if output.fallible {
        quote_spanned! {output.span=>
            match #call {
                ::core::result::Result::Ok(value) => value,
                ::core::result::Result::Err(error) => {
                    return ::core::result::Result::Err(::taps::TaskError::new(&error));
                }
            }
        }
    } else {
        call
    };
    let value = if output.many {
        quote!(::taps::Many(#value))
    } else {
        value
    };
    let declared = &output.call;
    let mutable = (!parameters.is_empty()).then(|| quote!(mut));
    let taken = (0..parameters.len())
        .map(|index| format_ident!("__argument_{index}", span = Span::mixed_site()));
    let taken: Vec<_> = taken.collect();
    quote! {
        impl #ident {
            #[doc(hidden)]
            #[allow(unused_variables, clippy::let_unit_value, reason = "generated")]
            fn __run(
                #mutable __arguments: ::taps::__private::Arguments,
            ) -> ::core::result::Result<::std::vec::Vec<::taps::__private::TaskOutput>, ::taps::TaskError> {
                let #mutable take = || -> ::taps::Result<_> {
                    #(#takes)*
                    ::core::result::Result::Ok((#(#taken,)*))
                };
                let (#(#taken,)*) = take().map_err(|error| ::taps::TaskError::new(&error))?;
                let value: #declared = #value;
                ::taps::__private::outputs::<#declared>(value)
            }
        }
    }
}
