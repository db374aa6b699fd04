//! Values as written, layer by layer, and the choice of app and plugins.

use crate::error::Place;
use serde_json::Value;

/// One value as written.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Path in the tree; the path of a slot stands for the choice of its plugin.
    pub(crate) key: Vec<String>,
    pub(crate) raw: Raw,
    pub(crate) place: Place,
    /// Later layers win: files in order, then flags.
    pub(crate) layer: usize,
    /// Where each key is, if the value is a table of a file.
    pub(crate) inside: Vec<(String, Place)>,
}

/// A value that has no type yet.
#[derive(Clone, Debug)]
pub(crate) enum Raw {
    /// Text of a flag.
    Text(String),
    /// Value of a file.
    Value(Value),
}

impl Raw {
    /// The value if it is text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Value(value) => value.as_str(),
        }
    }

    /// The value as shown in messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Value(value) => shown(value),
        }
    }
}

/// Text in back quotes, on one line.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", crate::error::one_line(text))
}

/// A value as shown in messages: text in back quotes, the rest as JSON.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => crate::error::one_line(&other.to_string()),
    }
}

/// A place in the tree where a name chooses which fields follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    App,
    Executor,
    Filter,
    Transformer,
}

impl Slot {
    pub(crate) const ALL: [Self; 4] = [Self::App, Self::Executor, Self::Filter, Self::Transformer];

    /// The word for it in messages and short flags.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Executor => "executor",
            Self::Filter => "filter",
            Self::Transformer => "transformer",
        }
    }

    /// Its dotted path.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Executor => "engine.executor",
            Self::Filter => "engine.filter",
            Self::Transformer => "engine.transformer",
        }
    }

    pub(crate) fn path(self) -> Vec<String> {
        self.section().split('.').map(str::to_owned).collect()
    }

    /// The slot at exactly this path.
    pub(crate) fn at(path: &[String]) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| {
            slot.section()
                .split('.')
                .eq(path.iter().map(String::as_str))
        })
    }
}

/// A plugin chosen by name.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Name as written.
    pub(crate) name: String,
    pub(crate) place: Place,
}

/// Finds which plugin the last layer names, and drops the keys that earlier layers gave to
/// another one. Settings that name the plugin are removed, too. A name that is not text is
/// passed to `invalid`.
pub(crate) fn choose(
    slot: Slot,
    settings: &mut Vec<Setting>,
    notices: &mut Vec<String>,
    mut invalid: impl FnMut(Setting),
) -> Option<Choice> {
    let path = slot.path();
    let (names, mut rest): (Vec<_>, Vec<_>) = std::mem::take(settings)
        .into_iter()
        .partition(|setting| setting.key == path);
    let mut chosen: Option<(Choice, usize)> = None;
    for setting in names {
        let Some(name) = setting.raw.text().map(str::to_owned) else {
            invalid(setting);
            continue;
        };
        if let Some((previous, layer)) = &chosen
            && *layer < setting.layer
            && !same_word(&previous.name, &name)
        {
            drop_fields(slot, &previous.name, &name, &setting, &mut rest, notices);
        }
        let choice = Choice {
            name,
            place: setting.place,
        };
        chosen = Some((choice, setting.layer));
    }
    *settings = rest;
    chosen.map(|(choice, _)| choice)
}

fn drop_fields(
    slot: Slot,
    from: &str,
    to: &str,
    switch: &Setting,
    settings: &mut Vec<Setting>,
    notices: &mut Vec<String>,
) {
    let path = slot.path();
    let mut dropped = Vec::new();
    settings.retain(|setting| {
        let stale = setting.layer < switch.layer && setting.key.starts_with(&path);
        if stale {
            dropped.push(setting.place.to_string());
        }
        !stale
    });
    if !dropped.is_empty() {
        notices.push(format!(
            "{}: the {} is now {} instead of {}; dropped {}",
            switch.place,
            slot.what(),
            quoted(to),
            quoted(from),
            dropped.join(", ")
        ));
    }
}

/// Whether two words are the same but for case, dashes and underscores.
pub(crate) fn same_word(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.chars().zip(b.chars()).all(|(a, b)| {
            let fold = |c: char| {
                if c == '_' {
                    '-'
                } else {
                    c.to_ascii_lowercase()
                }
            };
            fold(a) == fold(b)
        })
}
