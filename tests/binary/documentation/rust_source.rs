//! Public types and their documentation, from the sources as `rustfmt` leaves them.

use std::fs;

/// A public struct or enum.
pub(super) struct Item {
    pub(super) name: String,
    /// Its documentation.
    pub(super) doc: String,
    /// Its fields or variants; those of a variant come behind it, as `Variant.field`.
    pub(super) members: Vec<Member>,
}

/// A field or a variant.
pub(super) struct Member {
    pub(super) name: String,
    /// Its type, or what a variant holds; empty for a variant that holds nothing.
    pub(super) kind: String,
    pub(super) doc: String,
}

/// The public types of a file, in its order.
pub(super) fn items(path: &str) -> Vec<Item> {
    let text = fs::read_to_string(super::root().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    parse(&text)
}

fn parse(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut doc = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix("///") {
            add(&mut doc, words);
        } else if let Some(declared) = line
            .strip_prefix("pub struct ")
            .or_else(|| line.strip_prefix("pub enum "))
        {
            let name = declared.split([' ', '(', '<']).next().expect("a name");
            let members = if line.ends_with('{') {
                members(&mut lines, line.starts_with("pub enum"))
            } else {
                Vec::new()
            };
            items.push(Item {
                name: name.to_owned(),
                doc: std::mem::take(&mut doc),
                members,
            });
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    items
}

/// The members up to the end of a type.
fn members<'a>(lines: &mut impl Iterator<Item = &'a str>, variants: bool) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    let mut doc = String::new();
    // The variant whose fields follow.
    let mut variant = None;
    for line in lines.take_while(|line| *line != "}") {
        let depth = line.len() - line.trim_start().len();
        let code = line.trim();
        if let Some(words) = code.strip_prefix("///") {
            add(&mut doc, words);
        } else if depth == 4 && code.starts_with("},") {
            variant = None;
        } else if depth == 4 && !code.starts_with(['#', ')', ']'])
            || depth == 8 && variant.is_some()
        {
            let Some(mut member) = member(code, variants && depth == 4) else {
                continue;
            };
            if let (8, Some(variant)) = (depth, &variant) {
                member.name = format!("{variant}.{}", member.name);
            }
            if depth == 4 && code.ends_with('{') {
                variant = Some(member.name.clone());
            }
            member.doc = std::mem::take(&mut doc);
            members.push(member);
        }
    }
    members
}

/// `pub name: Type,`, `name: Type,`, `Variant,`, `Variant(Type),` or `Variant {`.
fn member(code: &str, is_variant: bool) -> Option<Member> {
    let code = code.strip_prefix("pub ").unwrap_or(code);
    let code = code.trim_end_matches(',');
    let (name, kind) = if is_variant {
        let end = code.find([' ', '(']).unwrap_or(code.len());
        let held = code[end..].trim().trim_matches(['(', ')']);
        (&code[..end], if held == "{" { "" } else { held })
    } else {
        code.split_once(": ")?
    };
    Some(Member {
        name: name.to_owned(),
        kind: kind.to_owned(),
        doc: String::new(),
    })
}

fn add(doc: &mut String, words: &str) {
    if !doc.is_empty() {
        doc.push(' ');
    }
    doc.push_str(words.trim());
}

#[test]
fn types_fields_and_variants_are_found() {
    let text = "/// A.\npub struct A {\n    /// One.\n    /// More.\n    #[serde(default)]\n    pub one: Vec<u8>,\n}\n\n\
                /// B.\n#[derive(Debug)]\npub enum B {\n    /// Two.\n    Two,\n    /// Three.\n    Three(Box<A>),\n    \
                /// Four.\n    Four {\n        /// Five.\n        five: u8,\n    },\n}\n";
    let items = parse(text);
    let found: Vec<String> = items
        .iter()
        .flat_map(|item| {
            let members = item
                .members
                .iter()
                .map(|member| format!("{}|{}|{}", member.name, member.kind, member.doc));
            std::iter::once(format!("{}|{}", item.name, item.doc)).chain(members)
        })
        .collect();
    assert_eq!(
        found,
        [
            "A|A.",
            "one|Vec<u8>|One. More.",
            "B|B.",
            "Two||Two.",
            "Three|Box<A>|Three.",
            "Four||Four.",
            "Four.five|u8|Five."
        ]
    );
}
