//! `#[taps::value]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(
            attribute,
            "`#[taps::value]` takes no options",
        ));
    }
    let input: DeriveInput = syn::parse2(item)?;
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a value has no type parameters: a task must know its bytes",
        ));
    }
    let name = &input.ident;
    Ok(quote! {
        #[derive(
            ::taps::__private::rkyv::Archive,
            ::taps::__private::rkyv::Serialize,
            ::taps::__private::rkyv::Deserialize,
        )]
        #[rkyv(crate = ::taps::__private::rkyv)]
        #[rkyv(attr(allow(missing_docs, reason = "documented on the type itself")))]
        #input

        ::taps::__archive_value!([] #name;);
    })
}
