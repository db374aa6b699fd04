//! Keys that nothing has, and what was perhaps meant.

use super::{Resolver, faults::PROCESSES};
use crate::error::{Place, Problem};
use crate::failures;
use crate::fields::general_sections;
use crate::known::split;
use crate::layers::{Raw, Setting, Slot, same_word};
use crate::schema::SHORT_FIELDS;
use crate::suggest;

impl Resolver<'_> {
    /// Reports every key that no chosen app, plugin or section has.
    pub(super) fn unknown_keys(&mut self) {
        let settings = std::mem::take(&mut self.settings);
        for setting in &settings {
            let known = self.known.iter().any(|known| known.takes(setting));
            let slot = Slot::ALL
                .into_iter()
                .find(|slot| setting.key.starts_with(&slot.path()));
            if known || slot.is_some_and(|slot| self.unchecked.contains(&slot)) {
                continue;
            }
            let problem = match slot {
                Some(slot @ (Slot::Filter | Slot::Transformer))
                    if !self
                        .known
                        .iter()
                        .any(|known| known.section == slot.section()) =>
                {
                    Problem::NothingChosen { what: slot.what() }
                }
                Some(Slot::Executor) if let Some(fault) = &self.chosen_by => {
                    let nearest = match self.unknown(setting) {
                        Problem::UnknownKey { nearest } | Problem::UnknownFlag { nearest } => {
                            nearest
                        }
                        _ => None,
                    };
                    Problem::NotOfChosenExecutor {
                        executor: PROCESSES,
                        fault: fault.clone(),
                        nearest,
                    }
                }
                _ => {
                    let key = self.as_written(&setting.key);
                    self.unknown(&Setting {
                        key,
                        ..setting.clone()
                    })
                }
            };
            self.error(setting.place.clone(), problem);
        }
        self.settings = settings;
        for setting in std::mem::take(&mut self.strangers) {
            let problem = self.unknown(&setting);
            self.error(setting.place, problem);
        }
    }

    /// What to say of a key that nothing has, given as the user wrote it.
    fn unknown(&self, setting: &Setting) -> Problem {
        let nearest = self.nearest(&setting.key);
        match (&setting.place, &setting.raw) {
            // Also the key of a table that a flag gives as JSON.
            (Place::File { .. }, _) | (_, Raw::Value(_)) => Problem::UnknownKey { nearest },
            _ => Problem::UnknownFlag {
                nearest: nearest
                    .or_else(|| nearest_short_flag(&setting.key))
                    .map(|key| format!("--{}", key.replace('_', "-"))),
            },
        }
    }

    /// The nearest known key: a sibling first, then the same word elsewhere, then any.
    fn nearest(&self, key: &[String]) -> Option<String> {
        let (last, parent) = key.split_last()?;
        let mut paths: Vec<Vec<String>> = self.known.iter().map(|k| k.written.clone()).collect();
        if self.base_of.is_some() {
            paths.extend(failures::fields());
        }
        paths.extend(Slot::ALL.map(Slot::path));
        paths.push(split("version"));
        paths.extend(general_sections().iter().map(|section| split(section.name)));
        let siblings = paths
            .iter()
            .filter(|path| path.len() == key.len() && path.starts_with(parent))
            .filter_map(|path| path.last());
        if let Some(sibling) = suggest::nearest(last, siblings.map(String::as_str)) {
            return Some([parent, &[sibling]].concat().join("."));
        }
        let elsewhere = paths
            .iter()
            .find(|path| path.last().is_some_and(|name| same_word(name, last)));
        if let Some(path) = elsewhere {
            return Some(path.join("."));
        }
        // A section above the key is surely not what was meant; a field may be.
        let is_field = |path: &Vec<String>| self.known.iter().any(|known| known.written == *path);
        let others = paths
            .iter()
            .filter(|path| !key.starts_with(path) || is_field(path));
        let dotted: Vec<String> = others.map(|path| path.join(".")).collect();
        suggest::nearest(&key.join("."), dotted.iter().map(String::as_str))
    }
}

/// The nearest of the flags without a dot.
fn nearest_short_flag(key: &[String]) -> Option<String> {
    const SWITCHES: [&str; 9] = [
        "config",
        "dry-run",
        "json",
        "quiet",
        "no-progress",
        "help",
        "allow",
        "locked",
        "key",
    ];
    let [word] = key else { return None };
    let fields = general_sections()
        .iter()
        .flat_map(|section| &section.fields);
    let aliases = fields.filter_map(|general| general.alias);
    suggest::nearest(word, aliases.chain(SWITCHES).chain(SHORT_FIELDS))
}
