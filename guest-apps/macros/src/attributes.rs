//! Reading attributes.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Text of the doc comments, lines joined, paragraphs kept.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) = &pair.value
        {
            lines.push(text.value());
        }
    }
    let mut text = String::new();
    for line in lines.iter().flat_map(|line| {
        line.lines()
            .map(str::trim)
            .chain(line.is_empty().then_some(""))
    }) {
        match line {
            "" if text.is_empty() || text.ends_with('\n') => {}
            "" => text.push_str("\n\n"),
            line => {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push(' ');
                }
                text.push_str(line);
            }
        }
    }
    text.trim_end().to_owned()
}

/// First paragraph of the doc comments.
pub(crate) fn first_paragraph(attributes: &[Attribute]) -> String {
    doc(attributes)
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The tokens of a type as people write it: without the spaces of `quote`.
pub(crate) fn type_text(declared: &impl quote::ToTokens) -> String {
    let text = quote::quote!(#declared).to_string();
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let after = characters.peek().copied();
        let glued = out.ends_with(['<', '&', '(', '[', ':'])
            || matches!(after, Some('<' | '>' | ',' | ')' | ']' | ':' | ';'));
        if character == ' ' && glued && !out.ends_with(',') {
            continue;
        }
        out.push(character);
    }
    out
}

/// `FooBar` as `foo-bar`.
pub(crate) fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (index, character) in name.chars().enumerate() {
        if character.is_uppercase() && index > 0 {
            out.push('-');
        }
        out.extend(character.to_lowercase());
    }
    out.replace('_', "-")
}
